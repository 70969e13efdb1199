"""The report's look: one style sheet, light and dark, from phone to print."""

STYLE = """
:root {
  --paper: #ffffff; --card: #f6f8fa; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --accent: #0969da; --code: #eef1f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0f1318; --card: #181e25; --ink: #e3e8ee; --soft: #98a4b0; --line: #2c353f; --accent: #6cb6ff; --code: #1f262e;
  }
  img.chart { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; border-radius: 0; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body {
  margin: 0; background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
}
header, main, footer { max-width: 64rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.2; letter-spacing: -0.02em; margin: 0; text-wrap: balance; }
h2 { font-size: 1.35rem; line-height: 1.3; letter-spacing: -0.01em; margin: 0 0 0.75rem; }
.subtitle { color: var(--soft); font-size: 1.05rem; margin: 0.5rem 0 0; }
nav { display: flex; flex-wrap: wrap; gap: 0.4rem 1.1rem; margin-top: 1.25rem; padding: 0.7rem 0; font-size: 0.92rem;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
section { padding-top: 2.4rem; }
p { margin: 0 0 1rem; max-width: 46rem; }
.note, figcaption, footer { color: var(--soft); font-size: 0.9rem; line-height: 1.5; }
code { font: 0.88em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
p code, td code, .note code { background: var(--code); padding: 0.1em 0.35em; border-radius: 4px; }
pre { background: var(--code); padding: 0.9rem 1.1rem; border-radius: 8px; overflow-x: auto; margin: 0 0 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(14.5rem, 100%), 1fr)); gap: 0.8rem;
  margin: 0 0 1.25rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 0.9rem 1.1rem; }
.value { font-size: 1.9rem; font-weight: 650; line-height: 1.2; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.label { font-weight: 500; line-height: 1.4; }
.compare { color: var(--soft); font-size: 0.87rem; line-height: 1.4; margin-top: 0.25rem; }
.wide { overflow-x: auto; margin: 0 0 0.6rem; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; min-width: 50%; }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: 0.82rem; line-height: 1.3; vertical-align: bottom; }
th, td { padding: 0.38rem 0.8rem 0.38rem 0; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; }
th.num, td.num { text-align: right; }
tr.faint td { color: var(--soft); }
tbody tr:hover td { background: var(--card); }
figure { margin: 0.5rem 0 1.5rem; }
img, video { display: block; max-width: 100%; height: auto; border-radius: 8px; }
video { width: 100%; max-width: 44rem; background: #14181d; }
figcaption { margin-top: 0.5rem; max-width: 46rem; }
footer { padding: 3rem 1.25rem; }
@media print { nav, video { display: none; } section { break-inside: avoid-page; } body { font-size: 11pt; } }
"""
