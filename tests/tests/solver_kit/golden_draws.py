"""Prints the golden numbers of random.rs and order.rs, from Philox4x32-10 as published; no package needed."""
import math


def philox(c, k):
    c, k, M = list(c), list(k), 0xFFFFFFFF
    for _ in range(10):
        p, q = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(q >> 32) ^ c[1] ^ k[0], q & M, (p >> 32) ^ c[3] ^ k[1], p & M]
        k = [(k[0] + 0x9E3779B9) & M, (k[1] + 0xBB67AE85) & M]
    return c


def words(seed, domain, index, count):
    out, block, M = [], 0, 0xFFFFFFFF
    while len(out) < count:
        out += philox([index & M, index >> 32, domain << 16 | block, 0], [seed & M, seed >> 32])[::-1]
        block += 1
    return out[:count]


def item(position, length, key):
    bits = (length - 1).bit_length()
    half = max((bits + 1) // 2, 1)
    value = position
    while True:
        left, right = value >> half, value & ((1 << half) - 1)
        for turn in range(6):
            mixed = philox([right, turn, 0, 0], key)[0] & ((1 << half) - 1)
            left, right = right, left ^ mixed
        value = left << half | right
        if value < length:
            return value


FIRST = [(1, 0, 0), (1 << 32, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1 << 32),
         (0x0123456789ABCDEF, 0xFEDC, 0x1122334455667788)]
print("first", [words(*stream, 1)[0] for stream in FIRST])
successive = words(7, 3, 11, 9)
print("successive", successive)
uniform = [(word >> 8) / 2**24 for word in successive[:6]]
print("normal", [math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v)
                 for u, v in zip(uniform[::2], uniform[1::2])])
for length in (12, 16):
    print("order", [item(position, length, words(7, 3, 11, 2)) for position in range(length)])
