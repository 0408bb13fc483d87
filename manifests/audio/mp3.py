"""The frames of an MP3 file: where they are, whether the last one is whole, how long they last.

libsndfile guesses the length of an MP3 that has no length table from the size of its first frame,
and decodes a file that is cut short without an error. MP3s that were written to a pipe, such as
those of CommonVoice, have no table. The frame headers tell both.
"""

from typing import NamedTuple, Optional

FRAME_HEADER = 4  # bytes
SIDE_INFO = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
KBITS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBITS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
TABLES = (b"Xing", b"Info")
HAS_FRAMES = 1  # flag of a table


class Frame(NamedTuple):
    """A frame header of MPEG audio, layer III.

    Attributes:
        start: offset of the header in the file.
        size: bytes of the frame, header included.
        samples: samples of each channel.
        table: offset of a length table, if this frame has one, relative to `start`.
    """

    start: int
    size: int
    samples: int
    table: int


class Layout(NamedTuple):
    """What the frame headers of a file tell.

    Attributes:
        start: offset of the first frame, behind ID3 tags.
        frames: number of whole frames with audio. A frame that holds a length table has none.
        samples: samples of each channel in these frames.
        has_table: whether the file has a length table.
        missing: bytes by which the last frame is cut short.
    """

    start: int
    frames: int
    samples: int
    has_table: bool
    missing: int


def read_layout(content: bytes) -> Optional[Layout]:
    """Follows the frame headers of an MP3 file; None if the file does not start with one."""
    start = skip_tags(content)
    frame = _read_frame(content, start)
    if frame is None:
        return None
    table = content[start + frame.table : start + frame.table + 4]
    has_table = table in TABLES or content[start + 36 : start + 40] == b"VBRI"
    count, samples, last = 0, 0, frame
    while frame is not None and frame.start + frame.size <= len(content):
        count, samples = count + 1, samples + frame.samples
        last = frame
        frame = _read_frame(content, last.start + last.size)
    if has_table and count:
        count, samples = count - 1, samples - last.samples
    if frame is not None:
        missing = frame.start + frame.size - len(content)
    else:
        rest = content[last.start + last.size :]
        is_cut_header = len(rest) < FRAME_HEADER and rest[:1] == b"\xff"
        missing = last.size - len(rest) if is_cut_header else 0
    return Layout(start, count, samples, has_table, missing)


def skip_tags(content: bytes) -> int:
    """The offset behind the ID3v2 tags at the beginning of a file, pictures included."""
    start = 0
    while content[start : start + 3] == b"ID3" and len(content) >= start + 10:
        size = 0
        for byte in content[start + 6 : start + 10]:
            size = size << 7 | byte & 127
        has_footer = content[start + 5] & 16
        start += 10 + size + (10 if has_footer else 0)
    # Some taggers leave zeros between the tag and the audio.
    while start < len(content) and content[start] == 0:
        start += 1
    return start


def with_table(content: bytes, layout: Layout) -> bytes:
    """The audio of a file without tags, and with a table that tells the number of its frames."""
    audio = content[layout.start :]
    if layout.has_table:
        return audio
    header = bytearray(audio[:FRAME_HEADER])
    header[1] |= 1  # no checksum follows
    header[2] = header[2] & 0x0F | 0x90  # 128 kbit/s or 80 kbit/s: enough for the table
    frame = _read_frame(bytes(header), 0)
    assert frame is not None
    table = b"Info" + HAS_FRAMES.to_bytes(4, "big") + layout.frames.to_bytes(4, "big")
    blank = frame.table - FRAME_HEADER
    return (bytes(header) + bytes(blank) + table).ljust(frame.size, b"\0") + audio


def _read_frame(content: bytes, start: int) -> Optional[Frame]:
    head = content[start : start + FRAME_HEADER]
    if len(head) < FRAME_HEADER or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer != 1 or kbits in (0, 15) or rate == 3:
        return None  # not layer III, or of a free bit rate
    is_mpeg1, is_mono, has_checksum = version == 3, head[3] >> 6 == 3, not head[1] & 1
    bits = (KBITS_MPEG1 if is_mpeg1 else KBITS_MPEG2)[kbits] * 1000
    samples = 1152 if is_mpeg1 else 576
    size = samples // 8 * bits // RATES[version][rate] + (head[2] >> 1 & 1)
    table = FRAME_HEADER + SIDE_INFO[is_mpeg1, is_mono] + (2 if has_checksum else 0)
    return Frame(start, size, samples, table)
