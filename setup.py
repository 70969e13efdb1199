"""Package metadata. Versions that are known to work together are pinned in constraints.txt, not here."""

from pathlib import Path

from setuptools import find_packages, setup

VIZ = ["matplotlib>=3.8", "tensorboard>=2.15"]
TEXT = ["open_clip_torch>=2.24"]  # brings torchvision: see prior/text/embedding/clip_modules.py

ROOMS = ("vpt_pipeline", "idm", "prior", "search_agent", "data")

setup(
    name="vpt-pipeline",
    version="0.1.0",
    description="From game video without actions to an agent: inverse dynamics model, labelling, behavioural prior.",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)]),
    package_data={
        "prior.nn": ["*.c"],
        "search_agent": ["*.c"],
        "vpt_pipeline.envs.luanti": ["*.c", "*.h", "bridge/*"],
        "": ["py.typed"],
    },
    install_requires=[
        "torch>=2.6",
        "numpy>=1.26",
        "av>=13",
        "opencv-python-headless>=4.8",
        "decord>=0.6; platform_machine == 'x86_64'",
        "faiss-cpu>=1.8",
        "ffmpeg-python>=0.2",
        "filelock>=3.12",
        "fsspec>=2024.6",
        "gymnasium>=1.0",
        "pyarrow>=15",
        "ray>=2.40",
        "rich>=13",
        "safetensors>=0.4",
        "scikit-learn>=1.3",
        "tomlkit>=0.12",
        "tyro>=0.9",
        "vizdoom>=1.2.3",
    ],
    extras_require={
        "viz": VIZ,
        "cluster": ["ray[default,train]>=2.40"],  # Ray's dashboard and metrics, and `vpt train-prior --cluster`
        "gpu": ["nvidia-ml-py>=12"],
        "hub": ["huggingface_hub>=0.24"],
        "cloud": ["s3fs>=2024.6", "gcsfs>=2024.6", "huggingface_hub>=0.24"],
        "text": TEXT,
        "dev": [
            *VIZ,
            *TEXT,
            "ray[train]>=2.40",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.6",
            "mypy>=1.11",
        ],
    },
    entry_points={"console_scripts": ["vpt = vpt_pipeline.cli:main"]},
)
