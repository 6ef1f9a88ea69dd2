"""MPEG audio of layer I, which no encoder at hand makes."""

import random


def layer_1(n_frames, kbps=384, rate=44_100, seed=0):
    """Whole frames of stereo noise in two of the 32 subbands."""
    rng = random.Random(seed)
    frames, n_over = [], 0
    for _ in range(n_frames):
        n_slots, remainder = divmod(12_000 * kbps, rate)
        n_over += remainder
        is_padded = n_over >= rate
        n_over -= rate * is_padded
        rate_code = {44_100: 0, 48_000: 1, 32_000: 2}[rate]
        bits = f"{0xFFF:012b}1111{kbps // 32:04b}{rate_code:02b}{is_padded:b}000000000"
        bits += "".join(("0010" if subband in (2, 5) else "0000") * 2 for subband in range(32))
        bits += 4 * f"{10:06b}"  # scale factors
        bits += "".join(f"{rng.randrange(7):03b}" for _ in range(12 * 4))
        frames.append(int(bits.ljust(32 * (n_slots + is_padded), "0"), 2))
        frames[-1] = frames[-1].to_bytes(4 * (n_slots + is_padded), "big")
    return b"".join(frames)
