#!/usr/bin/env bash
# Installs what pip cannot: the embedded game (Luanti, package minetest), a virtual display, software OpenGL,
# a C compiler (for the lock-step shim) and ffmpeg. Does nothing where all of it is there, and never fails the
# caller: without these packages the demo plays ViZDoom, which pip installs.
set -uo pipefail

PACKAGES=(minetest minetest-data xvfb xauth libgl1-mesa-dri gcc libc6-dev ffmpeg)

have() { command -v "$1" >/dev/null 2>&1; }

missing=()
have minetest || have luanti || [ -x /usr/games/minetest ] || missing+=("Luanti (minetest)")
have Xvfb || missing+=("Xvfb")
have cc || have gcc || missing+=("a C compiler")
have ffmpeg || missing+=("ffmpeg")
software_gl=missing
for driver in dri/swrast_dri.so 'libgallium-*.so'; do  # the second in Mesa 24.2 and newer
    compgen -G "/usr/lib*/$driver" >/dev/null && software_gl=there
    compgen -G "/usr/lib/*/$driver" >/dev/null && software_gl=there
done
[ "$software_gl" = there ] || missing+=("Mesa's software OpenGL")
[ ${#missing[@]} -eq 0 ] && exit 0

printf 'Missing system packages: %s\n' "$(IFS=,; echo "${missing[*]}" | sed 's/,/, /g')"
by_hand="apt-get update && apt-get install -y --no-install-recommends ${PACKAGES[*]}"

if [ "$(id -u)" -eq 0 ] && have apt-get; then
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing them with apt-get (about a minute) ..."
    if apt-get -qq update >"$log" 2>&1 && apt-get -qq install -y --no-install-recommends "${PACKAGES[@]}" >>"$log" 2>&1; then
        rm -f "$log"
        echo "Installed."
        exit 0
    fi
    echo "apt-get failed; its last lines:"
    tail -n 5 "$log"
    rm -f "$log"
else
    by_hand="sudo sh -c '$by_hand'"
fi

cat <<EOF
To play Luanti, run (Debian 12 or Ubuntu 24.04, which ship version 5.6; other systems: the same programs by your package manager):
    $by_hand
Going on without: the demo falls back to ViZDoom, and tests that need Luanti are skipped.
EOF
exit 0
