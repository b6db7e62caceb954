from math import comb

import pytest

from synth.growth import FITTED, LAWS, Law, fit

COUNTS = {(law.unit, law.code, law.quantity): law.count for law in LAWS}


def slots(n, m):
    """For each slot, counted from 1, the binomials of its lanes."""
    return {k: [comb(lane, k) for lane in range(k - 1, k + m - n)] for k in range(1, n + 1)}


def ones(numbers):
    return sum(bin(number).count("1") for number in numbers)


def bits(number):
    """Bits of an unsigned number; a port has at least one."""
    return max(1, len(f"{number:b}"))


class TestCounts:
    """What a law counts, counted by hand and by enumeration."""

    def test_by_hand(self):
        # Binomials 0, 1, 2 and 0, 1, 3; their sum has 3 bits, the rest 3 and then 2.
        assert COUNTS["encoder", "enumerative", "area"](2, 4) == 2 * 3 + (0 + 1 + 1 + 0 + 1 + 2) + 3
        assert COUNTS["decoder", "enumerative", "area"](2, 4) == 2 * (3 + 2) + (0 + 1 + 2) + 2
        assert COUNTS["decoder", "enumerative", "delay"](2, 4) == 3 + 2
        assert COUNTS["encoder", "index", "area"](2, 4) == 2 * 3 * 2
        assert COUNTS["decoder", "index", "area"](8, 16) == 8 * 9
        assert COUNTS["decoder", "bitmap", "area"](8, 16) == 16 * 4
        assert COUNTS["decoder", "bitmap", "delay"](8, 16) == 4

    @pytest.mark.parametrize(("n", "m"), [(1, 2), (1, 5), (3, 7), (4, 4), (4, 8), (8, 16)])
    def test_ranks(self, n, m):
        binomials = slots(n, m)
        terms = [max(numbers) for numbers in binomials.values()]
        adders = 0
        while len(terms) > 1:
            pairs = [terms[place : place + 2] for place in range(0, len(terms), 2)]
            terms = [sum(pair) for pair in pairs]
            # One that is left over goes on as it is, and counts as a sum of one.
            adders += sum(len(f"{term:b}") if term else 0 for term in terms)
        select = sum(len(numbers) for numbers in binomials.values())
        expected = select + sum(map(ones, binomials.values())) + adders
        assert COUNTS["encoder", "enumerative", "area"](n, m) == expected
        # The rest at slot k is below C(k + M - N, k), the masks that are left.
        rests = [bits(comb(k + m - n, k) - 1) for k in binomials]
        compared = sum((len(binomials[k]) - 1) * rests[k - 1] for k in binomials)
        picked = sum(ones(binomials[k]) for k in binomials if k > 1)
        expected = compared + picked + sum(rests[k - 2] for k in binomials if k > 1)
        assert COUNTS["decoder", "enumerative", "area"](n, m) == expected
        assert COUNTS["decoder", "enumerative", "delay"](n, m) == sum(rests)

    @pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law.unit}-{law.code}-{law.quantity}")
    def test_never_nothing(self, law):
        cases = [(n, m) for m in (2, 3, 8, 33, 64) for n in (1, 2, m // 2, m) if 1 <= n <= m]
        assert all(law.count(n, m) > 0 for n, m in cases)


LAW = Law("decoder", "index", "area", "N M", lambda n, m: n * m)


class TestFit:
    def test_exact(self):
        found = fit(LAW, {(2, 4): 8.0, (4, 8): 96.0, (8, 16): 384.0})
        assert found.law is LAW
        assert found.coefficient == pytest.approx(3)
        # The small pattern was measured to be a third of what the law says.
        assert found.errors == pytest.approx({(2, 4): 2.0, (4, 8): 0.0, (8, 16): 0.0})

    def test_mean(self):
        # 1 and 4 of each: one is a half of the fit, the other twice as much.
        found = fit(LAW, {(4, 8): 32.0, (8, 16): 512.0})
        assert found.coefficient == pytest.approx(2)
        assert found.errors == pytest.approx({(4, 8): 1.0, (8, 16): -0.5})

    def test_nothing_to_fit_to(self):
        assert fit(LAW, {}) is None
        assert fit(LAW, {(2, FITTED - 1): 8.0}) is None
        assert fit(LAW, {(2, FITTED): 8.0}).coefficient == pytest.approx(0.5)
