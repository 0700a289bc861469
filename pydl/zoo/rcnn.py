"""Detectors that classify regions: Fast R-CNN (Girshick 2015) and Faster R-CNN (Ren et al. 2015) on
VGG-16, R-FCN (Dai et al. 2016) on ResNet-50, with the names of their releases. R-CNN itself is in
`pydl.zoo.alexnet`. Classes include the background."""

from __future__ import annotations

from typing import Any

from pydl.zoo import resnet, vgg
from pydl.zoo.builder import Builder

_STRIDE = 16  # pixels to a cell of the maps that regions are cut from
_ANCHORS = 9
_BOX_INPUTS = ("bbox_targets", "bbox_inside_weights", "bbox_outside_weights")


def fast_rcnn(net: Builder) -> None:
    """``rois`` (R, 5) are rows of image and corners in pixels; to train, each has a label, and
    targets for its box."""
    regions = 64 * net.batch if net.train else net.batch
    net.input("rois", regions, 5)
    if net.train:
        net.input("labels", regions)
        for name in _BOX_INPUTS:
            net.input(name, regions, 4 * net.classes)
    _classify_regions(net, vgg.features(net, "data"))


def faster_rcnn(net: Builder) -> None:
    """``im_info`` (1, 3) holds the image's rows, columns and scale; ``gt_boxes`` (G, 5), to train,
    corners and class."""
    net.input("im_info", 1, 3)
    blob = vgg.features(net, "data")
    _propose(net, blob)
    _classify_regions(net, blob)


def _classify_regions(net: Builder, blob: str) -> None:
    param = {"pooled_h": 7, "pooled_w": 7, "spatial_scale": 1 / _STRIDE}
    blob = net.layer("ROIPooling", "roi_pool5", [blob, "rois"], roi_pooling_param=param)
    blob = vgg.fully_connected(net, blob)
    scores = net.fc(net.scores("cls_score"), blob, net.classes, filler="xavier")
    boxes = net.fc(net.scores("bbox_pred"), blob, 4 * net.classes, filler="xavier")
    if not net.train:
        net.layer("Softmax", "cls_prob", scores)
        return
    net.layer("SoftmaxWithLoss", "loss_cls", [scores, "labels"], loss_weight=[1])
    net.layer("SmoothL1Loss", "loss_bbox", [boxes, *_BOX_INPUTS], loss_weight=[1])


def _propose(net: Builder, blob: str, class_agnostic: bool = False) -> None:
    """The region proposal network: ``rois`` from anchors that look like objects; to train also
    what is to become of them."""
    blob = net.relu("rpn_relu/3x3", net.conv("rpn_conv/3x3", blob, 512, 3, pad=1))
    score = net.conv("rpn_cls_score", blob, 2 * _ANCHORS, 1)
    boxes = net.conv("rpn_bbox_pred", blob, 4 * _ANCHORS, 1)
    pairs = net.reshape("rpn_cls_score_reshape", score, (0, 2, -1, 0))
    if net.train:
        _proposal_losses(net, score, pairs, boxes)
    prob = net.layer("Softmax", "rpn_cls_prob", pairs)
    prob = net.reshape("rpn_cls_prob_reshape", prob, (0, 2 * _ANCHORS, -1, 0))
    rois = "rpn_rois" if net.train else "rois"
    net.layer("Proposal", "proposal", [prob, boxes, "im_info"], rois)
    if net.train:
        tops = ["rois", "labels", *_BOX_INPUTS]
        param: dict[str, Any] = {"num_classes": net.classes}
        if class_agnostic:
            param |= {"class_agnostic": True, "batch_size": -1}  # hard examples are chosen of all
        net.layer("ProposalTarget", "roi-data", ["rpn_rois", "gt_boxes"], tops,
                  proposal_target_param=param)  # fmt: skip


def _proposal_losses(net: Builder, score: str, pairs: str, boxes: str) -> None:
    net.input("gt_boxes", 1, 5)
    targets = [f"rpn_{name}" for name in ("labels", *_BOX_INPUTS)]
    net.layer("AnchorTarget", "rpn-data", [score, "gt_boxes", "im_info", "data"], targets)
    net.layer("SoftmaxWithLoss", "rpn_loss_cls", [pairs, targets[0]], "rpn_cls_loss",
              loss_weight=[1], loss_param={"ignore_label": -1, "normalize": True},
              propagate_down=[True, False])  # fmt: skip
    net.layer("SmoothL1Loss", "rpn_loss_bbox", [boxes, *targets[1:]],
              loss_weight=[1], smooth_l1_loss_param={"sigma": 3})  # fmt: skip


# ---- R-FCN ----
def rfcn(net: Builder) -> None:
    """Scores are averaged over the parts of a region, each part from maps of its own; one box for
    all classes. Trained with online hard example mining."""
    net.input("im_info", 1, 3)
    blob = resnet.stem(net, "data", bias=True, frozen=True)
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        dilated = {"stride": 1, "dilation": 2} if stage == 5 else {}
        names = resnet.block_names(stage, blocks)
        blob = resnet.residual_stage(net, blob, stage, names, frozen=True, **dilated)
        if stage == 4:
            proposals_from = blob
    _propose(net, proposals_from, class_agnostic=True)
    blob = net.relu("conv_new_1_relu", net.conv("conv_new_1", blob, 1024, 1))
    scores = _vote(net, net.scores("rfcn_cls"), blob, net.classes, "cls")
    boxes = _vote(net, "rfcn_bbox", blob, 8, "loc")
    if net.train:
        _hard_examples(net, scores, boxes)
    else:
        prob = net.layer("Softmax", "cls_prob_pre", scores)
        net.reshape("cls_prob", prob, (-1, net.classes))
        net.reshape("bbox_pred", boxes, (-1, 8))


def _vote(net: Builder, conv: str, blob: str, outputs: int, what: str) -> str:
    """(R, outputs, 1, 1): means over 7x7 parts of each region."""
    blob = net.conv(conv, blob, 49 * outputs, 1)
    param = {"spatial_scale": 1 / _STRIDE, "output_dim": outputs, "group_size": 7}
    blob = net.layer("PSROIPooling", f"psroipooled_{what}_rois", [blob, "rois"],
                     psroi_pooling_param=param)  # fmt: skip
    name = {"cls": "ave_cls_score_rois", "loc": "ave_bbox_pred_rois"}[what]
    return net.pool(name, blob, "AVE", 7, 7)


def _hard_examples(net: Builder, scores: str, boxes: str) -> None:
    """Only the 128 regions with the greatest losses of an image count."""
    none = {"loss_weight": [0, 0, 0], "propagate_down": [False, False]}
    tops = ["temp_loss_cls", "temp_prob_cls", "per_roi_loss_cls"]
    net.layer("SoftmaxWithLossOHEM", "per_roi_loss_cls", [scores, "labels"], tops, **none)
    none = {"loss_weight": [0, 0], "propagate_down": [False] * 3}
    net.layer("SmoothL1LossOHEM", "per_roi_loss_bbox",
              [boxes, "bbox_targets", "bbox_inside_weights"],
              ["temp_loss_bbox", "per_roi_loss_bbox"], **none)  # fmt: skip
    net.add("per_roi_loss", ["per_roi_loss_cls", "per_roi_loss_bbox"])
    net.layer("BoxAnnotatorOHEM", "annotator_detector",
              ["rois", "per_roi_loss", "labels", "bbox_inside_weights"],
              ["labels_ohem", "bbox_loss_weights_ohem"],
              box_annotator_ohem_param={"roi_per_img": 128, "ignore_label": -1})  # fmt: skip
    net.layer("Silence", "silence",
              ["bbox_outside_weights", "temp_loss_cls", "temp_prob_cls", "temp_loss_bbox"],
              [])  # fmt: skip
    net.layer("SoftmaxWithLoss", "loss", [scores, "labels_ohem"], "loss_cls",
              loss_weight=[1], loss_param={"ignore_label": -1},
              propagate_down=[True, False])  # fmt: skip
    net.layer("SmoothL1LossOHEM", "loss_bbox", [boxes, "bbox_targets", "bbox_loss_weights_ohem"],
              loss_weight=[1], propagate_down=[True, False, False],
              loss_param={"normalization": "PRE_FIXED", "pre_fixed_normalizer": 128})  # fmt: skip
