"""Sound files whose own tags are not read, and files as they come out of a pipe."""

import subprocess

from tests.formats.tags.tag_files import blank, encoded


def tagged(path, *options):
    """A file with a title, by ffmpeg."""
    return encoded(path, "-metadata", "title=Ein Stück ☃", *options)


def piped(path, *options):
    """What ffmpeg writes where it cannot come back to its header."""
    source = blank(path.with_name(path.name + ".source.wav"))
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-map_metadata", "-1"]
    done = subprocess.run(
        [*command, "-bitexact", *options, "-"], check=True, stdout=subprocess.PIPE
    )
    source.unlink()
    path.write_bytes(done.stdout)
    return path


UNREAD_MAKERS = {
    "w64": blank,
    "caf": tagged,
    "mka": lambda path: tagged(path, "-c:a", "flac"),
    "webm": lambda path: tagged(path, "-c:a", "libopus"),
}
PIPED_MAKERS = {
    "piped.wav": lambda path: piped(path, "-f", "wav"),
    "piped.rf64.wav": lambda path: piped(path, "-rf64", "always", "-f", "wav"),
    "piped.w64": lambda path: piped(path, "-f", "w64"),
    "piped.aiff": lambda path: piped(path, "-f", "aiff"),
    "piped.caf": lambda path: piped(path, "-f", "caf", "-c:a", "pcm_s16be"),
    "piped.au": lambda path: piped(path, "-f", "au"),
    "piped.wma": lambda path: piped(path, "-c:a", "wmav2", "-f", "asf"),
}
