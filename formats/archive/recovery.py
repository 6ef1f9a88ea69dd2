"""Recovery data of a folder of archives: a PAR 2.0 set in one file, made and used by par2cmdline.

    Archive/Album/.earzip/recovery.par2     recovery data of the archives in Archive/Album, and of the
                                            pictures that they share

The set names files as they are called, so any program for PAR 2.0 can use it with the folder as its
base. par2 itself works in a temporary folder of links: it sees no names but those in the set, and what it
writes is looked at before a file is replaced.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from earzip.errors import ArchiveError, DamagedArchiveError, SourceError, TargetError, UsageError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.shared import (
    holds_its_picture,
    keep_shared,
    read_shared,
    shared_path,
)
from earzip.formats.archive.verify import verify_structure
from earzip.formats.atomic import atomic_write, make_folder, private_as, set_mtime
from earzip.formats.names import (
    MODEL_FOLDER,
    RECOVERY_NAME,
    TRASH,
    is_archive_name,
    is_junk,
    is_shared_picture_name,
)

OnWait = Callable[[], None]
"""Called again and again; may raise to end the work."""
FileState = tuple[int, bytes]
"""Size of a file, and the MD5 of its first 16 KiB: of an archive these tell of every change, and a
picture named by its SHA-256 never changes."""

_MAGIC = b"PAR2\0PKT"
_HEAD = 64
_LOOK_S = 0.2
_MIN_BLOCK = 4096
_MAX_FILES = 30_000
_MAX_BLOCKS = 32_768
_MANY_BLOCKS = 4000
_REPAIR_NOT_POSSIBLE, _TOO_LITTLE_KNOWN = 2, 4  # exit codes of par2
# par2 takes these for something else in names, or changes them.
_AWKWARD = re.compile(r"[\x00-\x1f\x7f\\]|%(?=[0-9A-F]{2})")
_ESCAPE = re.compile(r"%([0-9A-F]{2})")


def recovery_path(folder: Path) -> Path:
    """Return where the recovery data of the archives in ``folder`` is, or would be."""
    return folder / MODEL_FOLDER / RECOVERY_NAME


def require_par2() -> str:
    """Return the path of the program. Raises UsageError."""
    program = shutil.which("par2")
    if program is None:
        raise UsageError(
            "needs the program par2, which is not installed; install it with apt install par2, or "
            "brew install par2"
        )
    return program


@dataclass(frozen=True)
class RecoveryData:
    """What a set says of itself."""

    path: Path
    files: Mapping[str, FileState]
    """What it protects, by name."""
    block_bytes: int
    n_recovery: int
    """Blocks that it can replace."""
    is_whole: bool

    @classmethod
    def read(cls, folder: Path) -> RecoveryData | None:
        """Return the recovery data of a folder, as far as it is not damaged; None if there is none.

        Raises SourceError where it cannot be read, or was not made by earzip.
        """
        path = recovery_path(folder)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror or error}", path) from error
        files: dict[str, FileState] = {}
        exponents: set[bytes] = set()
        block_bytes = end = 0
        is_whole = True
        for start, kind, body in _packets(data):
            is_whole &= start == end
            end = start + _HEAD + len(body)
            if kind == b"FileDesc":
                name = os.fsdecode(body[56:].rstrip(b"\0"))
                if {"/", "\\"} & set(name) or name in ("", ".", ".."):
                    raise SourceError("is not of earzip: it names files elsewhere", path)
                name = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)
                files[name] = int.from_bytes(body[48:56], "little"), body[32:48]
            elif kind == b"RecvSlic":
                exponents.add(body[:4])
            elif kind == b"Main":
                block_bytes = int.from_bytes(body[:8], "little")
        return cls(path, files, block_bytes, len(exponents), is_whole and end == len(data))

    def fits(self, folder: Path, redundancy: int) -> bool:
        """Return whether it is whole, of this redundancy, and protects all files as they are.

        Others that it protects may be gone, but not pruned. Raises SourceError where a file cannot be
        read.
        """
        wanted = _blocks([size for size, _ in self.files.values()], redundancy)
        return (
            self.is_whole
            and wanted == (self.block_bytes, self.n_recovery)
            and all(self.files.get(path.name) == _state(path) for path in files_in(folder))
            and not self.pruned(folder)
        )

    def gone(self, folder: Path) -> list[str]:
        """Return what it protects that is neither there nor in the trash, by name."""
        pruned = self.pruned(folder)
        return [name for name in self._absent(folder) if name not in pruned]

    def pruned(self, folder: Path) -> dict[str, Path]:
        """Return where in the trash what it protects is, by name: nobody has lost that."""
        absent = self._absent(folder)
        places = [run / name for run in _trash_of(folder) for name in absent] if absent else []
        found = {}
        for place in places:
            with suppress(SourceError):  # it is not there
                if _state(place) == self.files[place.name]:
                    found[place.name] = place
        return found

    def can_replace(self, names: Iterable[str]) -> bool:
        """Return whether it brings back these files, if nothing else is damaged."""
        n_needed = sum(ceil(self.files[name][0] / self.block_bytes) for name in names)
        return n_needed <= self.n_recovery

    def _absent(self, folder: Path) -> list[str]:
        return [name for name in sorted(self.files) if not os.path.lexists(folder / name)]


def _trash_of(folder: Path) -> list[Path]:
    """Return where runs over ``folder``, or one that it is in, have put what they pruned of it."""
    here = folder.absolute()
    found = []
    for top in (here, *here.parents):
        with suppress(OSError):  # it has no trash
            runs = sorted((top / MODEL_FOLDER / TRASH).iterdir())
            found += [run / here.relative_to(top) for run in runs]
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield where each undamaged packet begins, its kind and its body."""
    at = data.find(_MAGIC)
    while at >= 0:
        end = at + int.from_bytes(data[at + 8 : at + 16], "little")
        rest = memoryview(data)[at + 32 : end]
        digest = hashlib.md5(rest, usedforsecurity=False).digest()
        if at + _HEAD <= end <= len(data) and digest == data[at + 16 : at + 32]:
            yield at, data[at + 56 : at + 64].rstrip(b"\0"), data[at + _HEAD : end]
        else:
            end = at + 1
        at = data.find(_MAGIC, end)


def files_in(folder: Path) -> list[Path]:
    """Return what is to be protected directly in ``folder``: the archives and pictures of a run over it.

    Raises SourceError.
    """
    try:
        paths = [
            path
            for path in folder.iterdir()
            if is_archive_name(path.name) or is_shared_picture_name(path.name)
        ]
    except OSError as error:
        raise SourceError(f"cannot be listed: {error.strerror or error}", folder) from error
    shown = [path for path in paths if path.name[0] != "." and not is_junk(path.name)]
    return sorted(path for path in shown if path.is_file())


def _state(path: Path) -> FileState:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return size, hashlib.md5(file.read(16_384), usedforsecurity=False).digest()
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", path) from error


def _blocks(sizes: list[int], redundancy: int) -> tuple[int, int]:
    """Return the size of blocks, and how many are to be replaceable.

    16 for a file of the mean size: what is kept of each block costs little then, and so do the ends of
    files, which fill a block of their own. Fewer in a large folder, or par2 takes hours.
    """
    n = len(sizes)
    n_wanted = min(max(128, 4 * n, min(16 * n, _MANY_BLOCKS)), _MAX_BLOCKS - n)
    block = max(_MIN_BLOCK, 4 * ceil(sum(sizes) / n_wanted / 4))
    n_blocks = sum(ceil(size / block) for size in sizes)
    return block, ceil(n_blocks * redundancy / 100)


def make_recovery(folder: Path, redundancy: int, on_wait: OnWait) -> RecoveryData:
    """Make recovery data of the archives and pictures in ``folder``, in place of what is there.

    ``redundancy``: per cent. Raises DamagedArchiveError if one of them is damaged, other ArchiveErrors,
    UsageError without par2, SourceError, TargetError.
    """
    paths = files_in(folder)
    if len(paths) > _MAX_FILES:
        message = (
            f"has {len(paths)} archives and pictures; recovery data is of at most {_MAX_FILES}"
        )
        raise TargetError(f"{message} of a directory", folder)
    _require_whole(folder, paths, on_wait)
    states = {path.name: _state(path) for path in paths}
    block, n_recovery = _blocks([size for size, _ in states.values()], redundancy)
    target = recovery_path(folder)
    with _links(folder, states) as links:
        made = links.parent / "made"
        options = [f"-s{block}", f"-c{n_recovery}", "-n1", "-R", f"-B{links}", f"-a{made}"]
        code, said = _par2(["create", "-q", *options, "--", str(links)], on_wait)
        found = list(links.parent.glob("made.vol*.par2"))
        if code or len(found) != 1:
            raise TargetError(f"par2 ended with {code}: {said[-1]}", target)
        make_folder(target)
        mode = 0o666
        for path in paths:
            mode &= private_as(path.stat())
        with atomic_write(target, mode=mode) as file, found[0].open("rb") as volume:
            shutil.copyfileobj(volume, file)
            file.flush()
            if {path.name: _state(path) for path in files_in(folder)} != states:
                raise SourceError("its archives changed meanwhile; run again", folder)
    data = RecoveryData.read(folder)
    if data is None or data.files != states or not data.fits(folder, redundancy):
        raise TargetError("is not what par2 was told to write; expected par2 0.8 or newer", target)
    return data


def _require_whole(folder: Path, paths: list[Path], on_wait: OnWait) -> None:
    """Refuse damaged files: pictures first, so that they are named, not an archive that has one."""
    advice = "repair or remove it first"
    pictures = [path for path in paths if is_shared_picture_name(path.name)]
    for path in pictures:
        on_wait()
        if not holds_its_picture(path):
            raise DamagedArchiveError(f"{path.name} is damaged: {advice}", folder)
    for path in paths:
        if path not in pictures and (damages := verify_structure(path, on_wait)):
            reason = f"{path.name} is damaged ({damages[0].message}): {advice}"
            raise DamagedArchiveError(reason, folder)


def mend(data: RecoveryData, folder: Path, on_wait: OnWait) -> Iterator[Path]:
    """Put back what is damaged or missing in ``folder``, as its recovery data gives it; yield each.

    What is whole stays as it is, also if it has changed since. A damaged file stays until what replaces
    it has been verified. What was pruned stays in the trash, and helps from there. Raises
    DamagedArchiveError where that is not possible, TargetError, UsageError.
    """
    pruned = data.pruned(folder)
    with _links(folder, data.files) as links:
        for name, place in pruned.items():
            (links / _escaped(name)).symlink_to(place)
        (links.parent / "set.par2").symlink_to(data.path.absolute())
        code, said = _par2(["repair", "-q", f"-B{links}", f"{links.parent}/set.par2"], on_wait)
        if code:
            raise DamagedArchiveError(_why_not(data, code, said), data.path)
        for name in data.files.keys() - pruned.keys():
            mended, place = links / _escaped(name), folder / name
            if is_archive_name(name) and place.is_symlink() and not place.exists():
                continue  # perhaps its disk is not mounted; the run says that it is not there
            if mended.is_file() and not mended.is_symlink() and not _is_whole(place):
                if not _is_whole(mended):
                    raise DamagedArchiveError(f"gives {name} damaged", data.path)
                if place.is_symlink() and is_archive_name(name):
                    _keep_pictures(mended, place)
                _put_back(mended, place, data.path)
                yield place


def _why_not(data: RecoveryData, code: int, said: list[str]) -> str:
    lacking = re.search(r"You need (\d+) more recovery blocks", "\n".join(said))
    if code == _REPAIR_NOT_POSSIBLE and lacking:
        n_needed = data.n_recovery + int(lacking[1])
        kb = data.block_bytes / 1000
        return f"can replace {data.n_recovery} blocks of {kb:.3g} kB, and {n_needed} are damaged"
    if code == _TOO_LITTLE_KNOWN:
        return "is damaged itself"
    return f"is of no use: par2 ended with {code}: {said[-1]}"


def _keep_pictures(mended: Path, link: Path) -> None:
    """Put the pictures that ``mended`` shares beside ``link``: it will lead to where they are no more."""
    with ArchiveReader(mended) as reader:
        shared = reader.header.shared or ()
    for picture in shared:
        with suppress(DamagedArchiveError):  # it is lost there too
            image = read_shared(link, picture)
            mode = private_as(shared_path(link, picture).stat())
            keep_shared(link.parent, image, mode)


def _put_back(mended: Path, place: Path, like: Path) -> None:
    """Give ``place`` the content of ``mended``, with its own time and privacy, or those of a new one.

    A link there is replaced: what it leads to may be anybody's, and is not written to. A picture that
    was missing is of now: no time of it is known.
    """
    try:
        status = place.stat()
        mtime_ns: int | None = status.st_mtime_ns
    except OSError:  # it is missing
        status = like.stat()
        mtime_ns = None
        if is_archive_name(mended.name):
            with ArchiveReader(mended) as reader:
                mtime_ns = reader.header.source.mtime_ns
    with atomic_write(place, mode=private_as(status)) as file, mended.open("rb") as source:
        shutil.copyfileobj(source, file)
        file.flush()
        set_mtime(file.fileno(), mtime_ns, place)


def _is_whole(path: Path) -> bool:
    """Return whether a file is undamaged itself; an archive may lack a picture beside it."""
    if is_shared_picture_name(path.name):
        return holds_its_picture(path)
    try:
        return not verify_structure(path, with_shared=False)
    except ArchiveError:
        return False


def _escaped(name: str) -> str:
    return _AWKWARD.sub(lambda found: f"%{ord(found[0]):02X}", name)


@contextmanager
def _links(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Give a temporary folder of links to those of ``names`` that are there; its parent is for par2."""
    with TemporaryDirectory(prefix="earzip-") as temporary:
        links = Path(temporary, "files")
        links.mkdir()
        for name in names:
            if (folder / name).is_file():
                (links / _escaped(name)).symlink_to((folder / name).absolute())
        yield links


def _par2(arguments: list[str], on_wait: OnWait) -> tuple[int, list[str]]:
    """Run par2; return its exit code and the lines that it printed."""
    command = [require_par2(), *arguments]
    with TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=True,  # Ctrl-C is ours
        )
        try:
            while process.poll() is None:
                try:
                    process.wait(_LOOK_S)
                except subprocess.TimeoutExpired:
                    on_wait()
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace").replace("\r", "\n").split("\n")
    return process.returncode, [line for line in said if line.strip()] or ["it printed nothing"]
