"""Opening files with FFmpeg, and what they hold: which stream is the video, its packets, frames."""

import io
import os
import stat
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import av
from av.stream import Disposition

from keras_multigrid import files
from keras_multigrid.data.videos import limits
from keras_multigrid.data.videos.open_video import DecodeError

AVI = "avi"
MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
# FFmpeg's names of the formats whose files hold their frames. Others name further files, which a
# file from elsewhere must not do: playlists, lists to concatenate, session descriptions, scripts,
# numbered pictures.
_FORMATS = (
    *(
        "4xm",
        "anm",
        "apng",
        "apv",
        "asf",
        "av1",
        AVI,
        "avs",
        "avs2",
        "avs3",
        "bethsoftvid",
        "bfi",
    ),
    *("bink", "bmv", "c93", "cavsvideo", "cdxl", "cine", "dfa", "dhav", "dirac", "dnxhd", "dsicin"),
    *("dv", "dxa", "ea", "ea_cdata", "evc", "film_cpk", "filmstrip", "flic", "flv", "frm", "gdv"),
    *("gif", "gxf", "h261", "h263", "h264", "hevc", "hnm", "idcin", "iff", "ifv", "ingenient"),
    *("ipmovie", "ipu", "iv8", "ivf", "ivr", "jpegxl_anim", "jv", "kux", "live_flv", "lmlm4"),
    *("luodat", "lvf", "lxf", "m4v", "matroska", "mgsts", "mjpeg", "mjpeg_2000", "mm", "mods"),
    *(
        "moflex",
        MP4,
        "mp3",
        "mpeg",
        "mpegts",
        "mpegvideo",
        "mpjpeg",
        "msnwctcp",
        "mtv",
        "mv",
        "mvi",
    ),
    *("mxf", "mxg", "nc", "nsv", "nut", "nuv", "obu", "ogg", "paf", "pdv", "pmp", "psxstr", "pva"),
    *("r3d", "rl2", "rm", "roq", "rpl", "sdr2", "ser", "sga", "siff", "smjpeg", "smk", "smush"),
    *("svs", "swf", "thp", "tiertexseq", "tmv", "ty", "usm", "vc1", "vc1test", "vividas", "vivo"),
    *("vmd", "vvc", "wav", "wc3movie", "webm", "wsvqa", "wtv", "xmv", "yop", "yuv4mpegpipe"),
    # Files of one picture.
    *("bmp_pipe", "dds_pipe", "dpx_pipe", "exr_pipe", "gif_pipe", "hdr_pipe", "j2k_pipe"),
    *("jpeg_pipe", "jpegls_pipe", "jpegxl_pipe", "jpegxs_pipe", "pam_pipe", "pbm_pipe", "pcx_pipe"),
    *("pfm_pipe", "pgm_pipe", "png_pipe", "ppm_pipe", "psd_pipe", "qoi_pipe", "sgi_pipe"),
    *("sunrast_pipe", "tiff_pipe", "webp_pipe", "xbm_pipe", "xpm_pipe", "xwd_pipe"),
)
_OPTIONS = {"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": "file"}
# Streams of pictures that are not the video: covers, previews of chapters, and those that only mean
# something together with another stream, such as its transparency.
_BESIDE = (
    Disposition.attached_pic
    | Disposition.timed_thumbnails
    | Disposition.dependent
    | Disposition.multilayer
)
# Beside a stream of a codec for videos, those of pictures are previews, marked as such or not: a
# track of MP4 files counts as default unless it is switched off.
_PICTURES = frozenset({"bmp", "gif", "mjpeg", "png", "webp"})


class Source(NamedTuple):
    """A video file to open, perhaps several times.

    Args:
        path: of the file, local or remote.
        content: what FFmpeg opens: a name, or the bytes of a remote file.
        version: names a local file and what it holds now; None for remote ones.
    """

    path: str
    content: str | bytes
    version: tuple | None


def source_of(path: str) -> Source:
    """The source of a local or remote path.

    Raises:
        DecodeError: it is no regular file: to open one of another kind may wait without end.
        OSError: there is no such file, or it cannot be read.
    """
    if files.is_remote(path):
        with files.open_file(path) as file:
            return Source(path, file.read(), None)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError(
            f"Cannot decode '{path}': it is a pipe, a socket or a device, not a regular file."
        )
    # "file:" keeps FFmpeg from reading a colon in a name as the end of a protocol.
    return Source(path, f"file:{path}", (path, status.st_size, status.st_mtime_ns))


def open_video_stream(source: Source) -> tuple[av.container.InputContainer, av.VideoStream]:
    """A container at its start, and the stream that is its video.

    Raises:
        DecodeError: it has no video, is too large, or of a format that is not read.
        av.FFmpegError: it cannot be read.
    """
    content = source.content
    content = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        # A title in Latin-1 is no reason to lose a video.
        container = av.open(
            content, options=_limit(), container_options=_OPTIONS, metadata_errors="replace"
        )
    except av.ArgumentError as error:
        raise DecodeError(
            f"Cannot decode '{source.path}': it is damaged, or of a format that is not read. A "
            "playlist, for one, names other files instead of holding frames: list those."
        ) from error
    try:
        return container, video_stream(container, source.path)
    except BaseException:
        container.close()
        raise


def video_stream(container: av.container.InputContainer, path: str) -> av.VideoStream:
    """The stream that is decoded, on one thread, within the limit of pixels.

    Of several it is the one that the file marks as its default; of several such, or without any,
    the largest one. A stream of single pictures is taken only if there is no other.
    """
    videos = [s for s in container.streams.video if not s.disposition & _BESIDE]
    if not videos:
        raise DecodeError(f"Cannot decode '{path}': it has no video stream.")
    streams = [stream for stream in videos if stream.codec_context is not None]
    if not streams:
        raise DecodeError(f"Cannot decode '{path}': FFmpeg does not know how it is encoded.")
    stream = max(streams, key=_rank)
    limits.check_frame(stream.height, stream.width, path)
    stream.codec_context.options = _limit()
    # Work is parallel over clips: threads inside one would only compete with the other clips.
    stream.codec_context.thread_count = 1
    return stream


def _limit() -> dict[str, str]:
    """Options of decoders, which FFmpeg opens when it looks for streams, too."""
    # For frames that are larger than the header says; decoders round their sides up.
    return {"max_pixels": str(2 * limits.frame_pixels())}


def _rank(stream: av.VideoStream) -> tuple[bool, bool, bool, int, bool]:
    size = stream.width * stream.height
    is_default = bool(stream.disposition & Disposition.default)
    # Beside colours of the same size, gray is how transparent they are.
    has_colours = not (stream.codec_context.pix_fmt or "").startswith("gray")
    return size > 0, stream.codec.name not in _PICTURES, is_default, size, has_colours


def packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream that hold something, in the order of the file.

    Raises:
        TimeoutError: reading takes too long.
    """
    for packet in container.demux(stream):
        limits.check_time()
        if packet.size:
            yield packet
        elif packet.dts is None:
            # The end of this stream. Behind it come those of streams that began later in the file,
            # which PyAV does not know.
            return


def decoded(
    container: av.container.InputContainer, stream: av.VideoStream, num_packets: int | None = None
) -> Iterator[av.VideoFrame]:
    """The frames of all packets of a stream, or of the first ones, in the order of presentation."""
    for packet in islice(packets(container, stream), num_packets):
        yield from stream.codec_context.decode(packet)
    yield from stream.codec_context.decode(None)
