"""Shapes of the tensors of the two models that travel in the round's figures."""


def small():
    """A DarkCovidNet-like network: 53 tensors, 1,167,586 values."""
    shapes = []

    def conv(source, target, kernel=3):
        shapes.extend([(target, source, kernel, kernel), (target,), (target,)])

    conv(3, 8)
    conv(8, 16)
    for source, target in ((16, 32), (32, 64), (64, 128), (128, 256)):
        conv(source, target)
        conv(target, source, 1)
        conv(source, target)
    conv(256, 128, 1)
    conv(128, 256)
    conv(256, 3)
    return [*shapes, (3, 507), (3,)]


def big():
    """ResNet-18 with ten classes: 62 tensors, 11,181,642 values."""
    shapes = []

    def conv(source, target, kernel):
        shapes.extend([(target, source, kernel, kernel), (target,), (target,)])

    conv(3, 64, 7)
    source = 64
    for target in (64, 128, 256, 512):
        conv(source, target, 3)
        conv(target, target, 3)
        if source != target:
            conv(source, target, 1)
        conv(target, target, 3)
        conv(target, target, 3)
        source = target
    return [*shapes, (10, 512), (10,)]


MODELS = {"small": small, "big": big}


def count(shapes):
    total = 0
    for shape in shapes:
        values = 1
        for side in shape:
            values *= side
        total += values
    return total


def step(site):
    """By how much a site, from 0, moves every value in every round."""
    return 1e-3 * (site + 1)


def weight(site):
    return 100 + site


def moved(sites, rounds):
    """What every value has moved by after so many rounds of weighted averaging."""
    whole = sum(weight(site) for site in range(sites))
    return rounds * sum(weight(site) * step(site) for site in range(sites)) / whole
