"""What SSD's detection layers compute, in plain Python: one box at a time, in float64."""

import numpy as np


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if not (width > 0 and height > 0):
        return 0.0
    shared = width * height
    return shared / (area(a) + area(b) - shared)


def area(box):
    width, height = box[2] - box[0], box[3] - box[1]
    return 0.0 if width < 0 or height < 0 else width * height


def decode(prior, variance, code, t):
    t = np.asarray(t, np.float64) * variance
    size = np.array([prior[2] - prior[0], prior[3] - prior[1]])
    if code == "CORNER":
        return prior + t
    if code == "CORNER_SIZE":
        return prior + t * np.tile(size, 2)
    center = (prior[:2] + prior[2:]) / 2 + t[:2] * size
    half = np.exp(t[2:]) * size / 2
    return np.concatenate([center - half, center + half])


def encode(prior, variance, code, box):
    size = np.array([prior[2] - prior[0], prior[3] - prior[1]])
    if code == "CORNER":
        t = box - prior
    elif code == "CORNER_SIZE":
        t = (box - prior) / np.tile(size, 2)
    else:
        center = ((box[:2] + box[2:]) - (prior[:2] + prior[2:])) / 2 / size
        t = np.concatenate([center, np.log((box[2:] - box[:2]) / size)])
    return t / variance


def suppress(boxes, scores, threshold, top_k=-1, eta=1.0, least=-np.inf):
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > least]
    if top_k >= 0:
        order = order[:top_k]
    kept = []
    for i in order:
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


def detection_output(loc, conf, prior, *, classes, code="CORNER", share=True, background=0,
                     threshold=0.3, top_k=-1, eta=1.0, keep=-1, least=-np.inf,
                     encoded=False):  # fmt: skip
    """Rows [image, label, score, x1, y1, x2, y2]."""
    images, count = len(loc), prior.shape[2] // 4
    boxes, variances = prior.reshape(2, count, 4)
    if encoded:
        variances = np.ones_like(variances)
    loc = loc.reshape(images, count, -1, 4)
    conf = conf.reshape(images, count, classes)
    rows = []
    for n in range(images):
        found = []
        for c in range(classes):
            if c == background:
                continue
            decoded = [
                decode(boxes[i], variances[i], code, loc[n, i, 0 if share else c])
                for i in range(count)
            ]
            scores = conf[n, :, c]
            for i in suppress(decoded, scores, threshold, top_k, eta, least):
                found.append((n, c, scores[i], *decoded[i]))
        if 0 <= keep < len(found):
            best = sorted(range(len(found)), key=lambda k: -found[k][2])[:keep]
            found = [found[k] for k in sorted(best)]
        rows += found
    return np.array(rows or [(n, *[-1] * 6) for n in range(images)])


def match(predictions, truth, per_prediction=True, threshold=0.5, leave_out=False):
    """Which box of the truth each prediction stands for (-1: none, -2: left out), and overlaps."""
    count = len(predictions)
    index, best = [-1] * count, [0.0] * count
    overlaps = {}
    for i, box in enumerate(predictions):
        if leave_out and (np.min(box) < 0 or np.max(box) > 1):
            index[i] = -2
            continue
        for j, other in enumerate(truth):
            value = overlap(box, other)
            if value > 1e-6:
                overlaps[i, j] = value
                best[i] = max(best[i], value)
    pool = list(range(len(truth)))
    while pool:
        pairs = [(v, -i, -j) for (i, j), v in overlaps.items() if index[i] == -1 and j in pool]
        if not pairs:
            break
        value, i, j = max(pairs)
        index[-i], best[-i] = -j, value
        pool.remove(-j)
    for i in range(count if per_prediction else 0):
        if index[i] != -1:
            continue
        pairs = [(v, -j) for (k, j), v in overlaps.items() if k == i and v >= threshold]
        if pairs:
            index[i] = -max(pairs)[1]
    return index, best


def multibox_loss(loc, conf, prior, truth, *, classes, code="CORNER", share=True, background=0,
                  loc_loss="SMOOTH_L1", conf_loss="SOFTMAX", loc_weight=1.0, bipartite=False,
                  threshold=0.5, match_priors=True, difficult=True, mining="MAX_NEGATIVE",
                  ratio=3.0, neg_overlap=0.5, in_target=False, leave_out=False, sample=64,
                  bp_inside=False, agnostic=False, norm="VALID", nms=None,
                  nms_priors=False):  # fmt: skip
    """The loss; all arguments as in multibox_loss_param."""
    images, count = len(loc), prior.shape[2] // 4
    priors, variances = prior.reshape(2, count, 4)
    loc = loc.reshape(images, count, -1, 4).astype(np.float64)
    conf = conf.reshape(images, count, classes).astype(np.float64)
    ones = np.ones(4)
    positives, negatives = [], []

    def predicted(n, c):
        return [
            decode(priors[i], ones if in_target else variances[i], code, loc[n, i, c])
            for i in range(count)
        ]

    def location_cost(n, i, c, box):
        target = encode(priors[i], variances[i], code, box)
        guess = loc[n, i, c] / (variances[i] if in_target else ones)
        if bp_inside:
            side = priors[i] if match_priors else predicted(n, c)[i]
            guess = np.where((side < 0) | (side > 1), target, guess)
        error = np.abs(guess - target)
        if loc_loss == "L2":
            return (error**2).sum() / 2
        return np.where(error < 1, error**2 / 2, error - 0.5).sum()

    def class_cost(n, i, label):
        x = conf[n, i]
        if conf_loss == "SOFTMAX":
            return np.log(np.exp(x - x.max()).sum()) + x.max() - x[label]
        target = np.isin(np.arange(classes), label)
        return (np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0) - x * target).sum()

    for n in range(images):
        rows = [r for r in truth.reshape(-1, 8) if r[0] == n and (difficult or not r[7])]
        if not rows:
            continue
        boxes, labels = [r[3:7] for r in rows], [int(r[1]) for r in rows]
        for c in range(1 if share else classes):
            if not share and c == background:
                continue
            own = [k for k in range(len(rows)) if share or match_priors or labels[k] == c]
            guesses = priors if match_priors else predicted(n, c)
            index, best = match(guesses, [boxes[k] for k in own], not bipartite, threshold,
                                leave_out)  # fmt: skip
            index = [own[k] if k >= 0 else k for k in index]
            if not share:
                index = [k if k < 0 or labels[k] == c else -1 for k in index]
            names = [background + 1] * len(rows) if agnostic else labels
            if mining != "NONE":
                hard = mining == "HARD_EXAMPLE"
                cost = np.array([
                    class_cost(n, i, names[index[i]] if index[i] >= 0 else background)
                    + (location_cost(n, i, c, boxes[index[i]]) if hard and index[i] >= 0 else 0)
                    for i in range(count)
                ])  # fmt: skip
                able = [i for i in range(count)
                        if hard or (index[i] == -1 and best[i] < neg_overlap)]  # fmt: skip
                most = sample if hard else int(sum(k >= 0 for k in index) * ratio)
                if nms is not None:
                    at = priors if nms_priors else predicted(n, c)
                    kept = suppress([at[i] for i in able], cost[able], nms)
                    picked = [able[k] for k in kept][:most]
                else:
                    picked = sorted(able, key=lambda i: -cost[i])[:most]
                negatives += [(n, i) for i in sorted(picked) if index[i] == -1]
                if hard:
                    index = [k if k < 0 or i in picked else -1 for i, k in enumerate(index)]
            positives += [(n, i, c, names[k], boxes[k]) for i, k in enumerate(index) if k >= 0]
    divisor = {"VALID": len(positives), "BATCH_SIZE": images, "FULL": images * count, "NONE": 1}
    loss = loc_weight * sum(location_cost(n, i, c, box) for n, i, c, _, box in positives)
    if mining == "NONE":
        label, other = {}, background if conf_loss == "SOFTMAX" else []
        for n, i, _, name, _ in positives:  # of several classes LOGISTIC knows all
            label[n, i] = name if conf_loss == "SOFTMAX" else [*label.get((n, i), []), name]
        for n in range(images):
            loss += sum(class_cost(n, i, label.get((n, i), other)) for i in range(count))
    else:
        loss += sum(class_cost(n, i, name) for n, i, _, name, _ in positives)
        loss += sum(class_cost(n, i, background) for n, i in negatives)
    return loss / max(divisor[norm], 1)
