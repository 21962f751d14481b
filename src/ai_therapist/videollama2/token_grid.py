"""How many tokens a clip costs: the grid the connector gives, and the grid a token budget pools it to."""

Grid = tuple[int, int, int]
"""(time, height, width) of a clip's tokens."""


def connector_grid(num_frames: int, side: int, padding: int) -> Grid:
    """The grid of a clip of `num_frames` frames of `side` x `side` patches.

    Per axis of n: floor((n + 2·padding − 2) / 2) + 1, the output size of a convolution of kernel and stride 2.

    Raises:
        ValueError: an axis comes out empty.
    """
    time, height, width = ((size + 2 * padding - 2) // 2 + 1 for size in (num_frames, side, side))
    if min(time, height, width) < 1:
        raise ValueError(
            f"{num_frames} frames of {side}x{side} patches give an empty connector grid; use 2 frames or more"
        )
    return time, height, width


def pooled_grid(grid: Grid, tokens: int | None) -> Grid:
    """The grid with product `tokens` that pools `grid`; `grid` itself for None.

    Time is kept as fine as possible (expressions pass quickly), then the picture as square as possible.

    Raises:
        ValueError: no such grid fits, for instance when `tokens` is a large prime or exceeds the grid.
    """
    if tokens is None:
        return grid
    time, height, width = grid
    for steps in range(min(time, tokens), 0, -1):
        cells, rest = divmod(tokens, steps)
        if rest:
            continue
        sides = [(h, cells // h) for h in range(1, height + 1) if cells % h == 0 and cells // h <= width]
        if sides:
            best = min(sides, key=lambda side: abs(side[0] - side[1]))
            return steps, *best
    raise ValueError(
        f"tokens_per_clip={tokens} cannot be pooled from a connector grid of {time}x{height}x{width}; "
        "use a product of three factors within it, such as 32, 64 or 96, or None"
    )
