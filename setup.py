"""Package metadata and requirements.

Requirements are ranges; the tested sets of exact versions are in constraints.txt (TensorFlow 2.17,
the newest that tensorflow-io works with) and constraints-backends.txt (the newest TensorFlow, JAX
and PyTorch).
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
README = ROOT / "README.md"
# Read, not imported: the package's requirements need not be there yet.
INIT = (ROOT / "keras_multigrid" / "__init__.py").read_text(encoding="utf-8")
# Remote paths: s3, http, and what else fsspec knows. aiobotocore takes few versions of botocore: an
# older boto3 may be needed beside it. With s3fs 2025.3, a read in a forked process did not end.
REMOTE = ("aiohttp>=3.14", "fsspec>=2026.6", "s3fs>=2026.6")

setup(
    name="keras-multigrid",
    version=re.search(r'^__version__ = "(.+)"$', INIT, flags=re.MULTILINE)[1],
    description="Multigrid training of video models with Keras 3 and TensorFlow.",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords="keras tensorflow video action-recognition multigrid training",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    # The experiments of gin/ are installed with the package.
    packages=[*find_packages(include=["keras_multigrid*"]), "keras_multigrid.experiments"],
    package_dir={"keras_multigrid.experiments": "gin"},
    package_data={
        "keras_multigrid": ["py.typed", "**/*.pyi"],
        "keras_multigrid.experiments": ["*.csv", "*.gin", "*/*.gin"],
    },
    entry_points={
        "console_scripts": [
            "keras-multigrid = keras_multigrid.cli.command:main",
            # The earlier name.
            "multigrid = keras_multigrid.cli.command:main",
        ]
    },
    python_requires=">=3.10",
    # TensorFlow is an extra, not a requirement: `tensorflow` and `tensorflow-cpu` are two wheels of
    # one library, and requiring either would overwrite the files of the other.
    install_requires=[
        "absl-py>=1.4",
        "av>=17",
        "gin-config>=0.5",
        "h5py>=3",
        "keras>=3.15,<4",
        "matplotlib>=3.7",
        "numpy>=1.26",
        "opencv-python-headless>=4.11,<6",
        "pillow>=10",
        "tensorboard>=2.16",  # TensorFlow 2.21 no longer brings it.
    ],
    extras_require={
        "tensorflow": ["tensorflow>=2.16"],
        "cpu": ["tensorflow-cpu>=2.16"],
        # Runs train on these, too; TensorFlow reads their input. JAX excludes TensorFlow 2.17,
        # whose NumPy is older: the tested set is constraints-backends.txt.
        "jax": ["jax>=0.4.30"],
        "torch": ["torch>=2.2"],
        "cuda": ["tensorflow[and-cuda]>=2.16"],
        "remote": [*REMOTE],
        # An input service that reads s3:// and others by TensorFlow's operations. Its native parts
        # load on TensorFlow <= 2.17 only, which it does not declare: install it with `-c
        # constraints.txt`.
        "io": ["tensorflow-io==0.37.1", *REMOTE],
        # model.export(path, format="onnx") on TensorFlow; onnxruntime runs what it wrote.
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"],
        # data.from_tfds: 45 MB. array_record reads videos by their number.
        "tfds": ["tensorflow-datasets>=4.9.7", "array_record>=0.5"],
        # data.from_hugging_face: 230 MB, most of it PyArrow.
        "hf": ["datasets>=4"],
        # tools/prepare.py on Apache Beam, whose limits exclude what tests are pinned to: its tested
        # set is constraints-beam.txt.
        "beam": ["apache-beam>=2.59"],
        "test": [
            "codespell>=2.4",
            "hypothesis>=6.100",
            "mypy>=1.14",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "pyyaml>=6",
            "scikit-learn>=1.4",
            "ruff>=0.9",
            # An S3 server on the loopback. flask and flask-cors are what it needs to serve S3:
            # moto[server] would bring the dependencies of every AWS service.
            "flask>=3",
            "flask-cors>=5",
            "moto[s3]>=5",
        ],
    },
)
