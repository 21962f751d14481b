"""Frames and pictures to pixel values, with PIL alone: frame sampling, padding to a square, the tower's resize."""

# mypy: allow-untyped-calls

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_base import ImageProcessingMixin
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from .media_videollama2 import Window, read_frames

MAX_FRAMES = 32
"""Most frames a clip may have when it is sampled at one frame per second."""

AspectRatio = Literal["pad", "none"]
Tower = Literal["clip", "siglip"]


def uniform_indices(count: int, wanted: int) -> list[int]:
    """`wanted` frame indices spread over `count` frames; short clips repeat frames.

    seg = (count − 1) / wanted; index_i = round(seg·(i + 0.5) + 1e-6).

    Raises:
        ValueError: `count` or `wanted` is below 1.
    """
    if count < 1 or wanted < 1:
        raise ValueError(f"cannot take {wanted} frames of {count}; both must be 1 or more")
    segment = (count - 1) / wanted
    return [round(segment * (index + 0.5) + 1e-6) for index in range(wanted)]


def per_second_indices(count: int, fps: float) -> list[int]:
    """One frame index per second: seg = min(fps // 1, count), every seg-th from seg // 2; at most `MAX_FRAMES`.

    Longer clips are spread over `MAX_FRAMES` frames with `uniform_indices`.

    Raises:
        ValueError: `count` is below 1 or `fps` below 1.
    """
    if count < 1 or fps < 1:
        raise ValueError(f"cannot sample {count} frames at {fps} fps; both must be 1 or more")
    segment = min(int(fps // 1), count)
    indices = list(range(segment // 2, count, segment))
    return indices if len(indices) <= MAX_FRAMES else uniform_indices(count, MAX_FRAMES)


class SquareFrames(ImageProcessingMixin):
    """What pictures and frames have in common: padding to a square and the tower's resize and normalisation.

    "pad" first pastes the picture centred on a square of the mean colour. It is the default for training and
    inference alike: the original pads in training but not in inference, where CLIP then cuts the sides of wide
    frames, in which two people talk. "none" gives the original's inference values.

    Args:
        tower: "clip" (short side resized, centre crop) or "siglip" (resized to the square).
        image_size: side of the tower's input, in pixels.
        aspect_ratio: "pad" or "none".
        image_mean: mean per channel, in [0, 1]; None takes the tower's own.
        image_std: deviation per channel; None takes the tower's own.

    Raises:
        ValueError: unknown tower or aspect ratio.
    """

    def __init__(
        self,
        tower: Tower = "siglip",
        image_size: int = 384,
        aspect_ratio: AspectRatio = "pad",
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if tower not in ("clip", "siglip"):
            raise ValueError(f"tower={tower!r}: use 'clip' or 'siglip'")
        _check_aspect_ratio(aspect_ratio)
        base: type[CLIPImageProcessorPil] | type[SiglipImageProcessorPil]
        base = CLIPImageProcessorPil if tower == "clip" else SiglipImageProcessorPil
        self.tower = tower
        self.image_size = image_size
        self.aspect_ratio = aspect_ratio
        self.image_mean = [float(value) for value in image_mean or base.image_mean or ()]
        self.image_std = [float(value) for value in image_std or base.image_std or ()]

    def pixels(self, pictures: Sequence[Image.Image], aspect_ratio: AspectRatio | None = None) -> torch.Tensor:
        """Pixel values (n, 3, side, side), float32, of `pictures` in order."""
        mode = aspect_ratio or self.aspect_ratio
        _check_aspect_ratio(mode)
        ready = [self._square(picture) if mode == "pad" else picture for picture in pictures]
        values: torch.Tensor = self._resizer()(ready, return_tensors="pt")["pixel_values"]
        return values

    def _resizer(self) -> CLIPImageProcessorPil | SiglipImageProcessorPil:
        square = {"height": self.image_size, "width": self.image_size}
        colours = {"image_mean": self.image_mean, "image_std": self.image_std}
        if self.tower == "clip":
            return CLIPImageProcessorPil(size={"shortest_edge": self.image_size}, crop_size=square, **colours)  # type: ignore[arg-type]
        return SiglipImageProcessorPil(size=square, **colours)  # type: ignore[arg-type]

    def _square(self, picture: Image.Image) -> Image.Image:
        """`picture` pasted centred (rounded down) on a square of the mean colour int(mean·255)."""
        side = max(picture.size)
        if picture.size == (side, side):
            return picture
        square = Image.new("RGB", (side, side), tuple(int(mean * 255) for mean in self.image_mean))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        return square


class VideoLLaMA2ImageProcessor(SquareFrames):
    """Pictures to `pixel_values` (n, 3, side, side); arguments and errors as `SquareFrames`."""

    model_input_names = ["pixel_values"]  # noqa: RUF012 (transformers reads plain lists)

    def __call__(
        self,
        images: Any,
        return_tensors: str | None = None,
        aspect_ratio: AspectRatio | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """`pixel_values` (n, 3, side, side), float32, of pictures (PIL, or arrays (H, W, 3) uint8), nested or flat.

        Raises:
            ValueError: no picture given; unknown `aspect_ratio`.
        """
        pictures = [_as_picture(picture) for picture in _flatten(images)]
        if not pictures:
            raise ValueError("no picture given; leave images out for a conversation without pictures")
        return BatchFeature({"pixel_values": self.pixels(pictures, aspect_ratio)}, tensor_type=return_tensors)


class VideoLLaMA2VideoProcessor(SquareFrames):
    """Clips to `pixel_values_videos` (n, T, 3, side, side); `num_frames` per clip, or one per second where None."""

    model_input_names = ["pixel_values_videos"]  # noqa: RUF012

    def __init__(self, num_frames: int | None = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_frames = num_frames

    def sample(self, count: int, fps: float, window: Window = Window()) -> list[int]:  # noqa: B008 (immutable)
        """Frame indices the model sees, of `count` frames at `fps`, inside `window`."""
        first, last = window.frames(count, fps)
        inside = last - first + 1
        if self.num_frames is None:
            return [first + index for index in per_second_indices(inside, fps)]
        return [first + index for index in uniform_indices(inside, self.num_frames)]

    def load(self, video: Any, window: Window = Window()) -> NDArray[np.uint8]:  # noqa: B008
        """The sampled frames (T, H, W, 3), uint8, of a path, an array of frames or a list of pictures.

        Raises:
            ValueError: unreadable file, empty clip, or pictures of different sizes.
        """
        if isinstance(video, str):
            return read_frames(video, lambda count, fps: self.sample(count, fps, window))
        if isinstance(video, torch.Tensor):
            video = video.numpy()
        frames = [np.asarray(_as_picture(frame)) for frame in video]
        if not frames or len({frame.shape for frame in frames}) > 1:
            raise ValueError(f"a clip needs 1 or more frames of one size; got {len(frames)}")
        wanted = len(frames) if self.num_frames is None else self.num_frames
        return np.stack([frames[index] for index in uniform_indices(len(frames), wanted)])

    def __call__(
        self,
        videos: Any,
        return_tensors: str | None = None,
        aspect_ratio: AspectRatio | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """`pixel_values_videos` (n, T, 3, side, side), float32, of clips as `load` takes them, nested or flat.

        Raises:
            ValueError: no clip given, or clips with different numbers of frames (`num_frames=None`).
        """
        clips = [self.load(video) for video in _flatten_videos(videos)]
        if len({len(clip) for clip in clips}) != 1:
            raise ValueError(
                f"clips of one batch need one number of frames, got {sorted({len(clip) for clip in clips})}; "
                "set num_frames, or process them one by one"
            )
        values = [self.pixels([Image.fromarray(frame) for frame in clip], aspect_ratio) for clip in clips]
        return BatchFeature({"pixel_values_videos": torch.stack(values)}, tensor_type=return_tensors)


def _check_aspect_ratio(aspect_ratio: str) -> None:
    if aspect_ratio not in ("pad", "none"):
        raise ValueError(f"aspect_ratio={aspect_ratio!r}: use 'pad' or 'none'")


def _as_picture(picture: Any) -> Image.Image:
    """An RGB picture from a PIL image or an array (H, W, 3) or (3, H, W) of uint8."""
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or 3 not in (array.shape[0], array.shape[-1]):
        raise ValueError(
            f"a frame of shape {array.shape} and type {array.dtype} is no picture; give (H, W, 3) uint8 RGB"
        )
    return Image.fromarray(array if array.shape[-1] == 3 else array.transpose(1, 2, 0))


def _flatten(images: Any) -> list[Any]:
    if isinstance(images, (list, tuple)):
        return [picture for entry in images for picture in _flatten(entry)]
    if isinstance(images, (np.ndarray, torch.Tensor)) and images.ndim == 4:
        return list(images)
    return [images]


def _flatten_videos(videos: Any) -> list[Any]:
    """Clips of `videos`: a path, an array (T, H, W, 3), a list of pictures, or lists of these."""
    if isinstance(videos, (list, tuple)):
        if videos and (isinstance(videos[0], Image.Image) or getattr(videos[0], "ndim", 0) == 3):
            return [videos]
        return [clip for entry in videos for clip in _flatten_videos(entry)]
    if getattr(videos, "ndim", 4) == 5:
        return list(videos)
    return [videos]
