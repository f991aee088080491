"""Ed25519 signatures as in RFC 8032, section 6, in plain integers: slow, and not safe against
timing attacks. It is for tests only."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def _recover_x(y, sign):
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return P - x if x & 1 != sign else x


_BY = 4 * pow(5, P - 2, P) % P
_BX = _recover_x(_BY, 0)
BASE = (_BX, _BY, 1, _BX * _BY % P)  # x, y, z, x*y/z, as all points


def _add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _compress(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _expand(seed):
    h = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(h[:32], "little")
    return scalar & (1 << 254) - 8 | 1 << 254, h[32:]


def _hash(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def public_key(seed):
    """The public key of a private key, both of 32 bytes."""
    return _compress(_multiply(_expand(seed)[0], BASE))


def sign(seed, message):
    """The signature, 64 bytes."""
    scalar, prefix = _expand(seed)
    r = _hash(prefix, message)
    commitment = _compress(_multiply(r, BASE))
    k = _hash(commitment, public_key(seed), message)
    return commitment + ((r + k * scalar) % L).to_bytes(32, "little")
