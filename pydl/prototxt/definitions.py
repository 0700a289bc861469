"""Caffe's messages that belong to no layer type, as plain data in the order of field numbers.

Layers bring their own ``*_param`` messages; see `pydl.prototxt.schema`.
"""

from pydl.prototxt.forks import with_fork_fields

PHASES = {"TRAIN": 0, "TEST": 1}
GAN_OBJECTIVES = ("NON_SATURATING", "MINIMAX", "LEAST_SQUARES", "WASSERSTEIN", "HINGE")
PRECISIONS = {"FLOAT32": 0, "BF16": 1}


def _one(name, type, help, default=None):
    return {"name": name, "type": type, "repeated": False, "default": default, "help": help}


def _many(name, type, help):
    return {"name": name, "type": type, "repeated": True, "default": None, "help": help}


def _enum(name, values, help, default=None):
    return {**_one(name, "enum", help, default), "enum": values}


def _message(name, message, help, repeated=False):
    return {**_one(name, "message", help), "message": message, "repeated": repeated}


_BLOB_SHAPE = [_many("dim", "int64", "sizes, outermost first")]

_BLOB_PROTO = [
    _one("num", "int32", "legacy 4-D shape", 0),
    _one("channels", "int32", "legacy 4-D shape", 0),
    _one("height", "int32", "legacy 4-D shape", 0),
    _one("width", "int32", "legacy 4-D shape", 0),
    _many("data", "float", "values in C order"),
    _many("diff", "float", "gradients in C order"),
    _message("shape", "BlobShape", "shape"),
    _many("double_data", "double", "values of a double precision net"),
    _many("double_diff", "double", "gradients of a double precision net"),
]

_DATUM = [
    _one("channels", "int32", "channels of the image"),
    _one("height", "int32", "rows"),
    _one("width", "int32", "columns"),
    _one("data", "bytes", "pixels, or an encoded image file"),
    _one("label", "int32", "class"),
    _many("float_data", "float", "values that do not fit bytes"),
    _one("encoded", "bool", "data is an encoded image file", False),
]

_NET_STATE = [
    _enum("phase", PHASES, "TRAIN or TEST", "TEST"),
    _one("level", "int32", "compared with min_level and max_level of rules", 0),
    _many("stage", "string", "names that rules ask for with stage and not_stage"),
]

_NET_STATE_RULE = [
    _enum("phase", PHASES, "the net's phase must be this"),
    _one("min_level", "int32", "the net's level must be at least this"),
    _one("max_level", "int32", "the net's level must be at most this"),
    _many("stage", "string", "the net must have all these stages"),
    _many("not_stage", "string", "the net must have none of these stages"),
]

_PARAM_SPEC = [
    _one("name", "string", "parameters of one name are shared between layers"),
    _enum(
        "share_mode",
        {"STRICT": 0, "PERMISSIVE": 1},
        "STRICT: shared parameters must agree in shape; PERMISSIVE: in size",
    ),
    _one("lr_mult", "float", "factor on the learning rate", 1.0),
    _one("decay_mult", "float", "factor on the weight decay", 1.0),
    # Not in Caffe.
    _one("max_norm", "float", "L2 norm that each row (axis 0) is scaled down to; absent: none"),
    _one("noise", "float", "deviation of Gaussian noise on it in training; absent: none"),
    _one("dropout_ratio", "float", "part of it that is 0 in a pass of training; absent: none"),
]

_LOSS_WEIGHT_SCHEDULE = [
    _one("policy", "string", "linear, poly, cosine or step", "linear"),
    _one("start", "float", "factor on loss_weight at the start", 0.0),
    _one("end", "float", "factor in the end", 1.0),
    _one("iterations", "int32", "iterations from start to end"),
    _one("delay", "int32", "iterations before it begins", 0),
    _one("period", "int32", "iterations after which it begins anew; 0: never", 0),
    _one("power", "float", "exponent of poly", 1.0),
]

_LAYER = [
    _one("name", "string", "name of the layer"),
    _one("type", "string", "kind of layer"),
    _many("bottom", "string", "input blobs"),
    _many("top", "string", "output blobs"),
    _many("loss_weight", "float", "weight of each top in the loss"),
    _message("param", "ParamSpec", "settings of each learnable blob", repeated=True),
    _message("blobs", "BlobProto", "the learnable blobs", repeated=True),
    _message("include", "NetStateRule", "the layer is used if any rule holds", repeated=True),
    _message("exclude", "NetStateRule", "the layer is used if no rule holds", repeated=True),
    _enum("phase", PHASES, "the layer runs in this phase whatever the net's phase is"),
    _many("propagate_down", "bool", "whether each bottom gets a gradient"),
    # Not in Caffe.
    _message("loss_weight_schedule", "LossWeightSchedule", "a factor on loss_weight in training"),
]

_NET = [
    _one("name", "string", "name of the net"),
    _many("input", "string", "legacy: blobs that are fed; now an Input layer"),
    _many("input_dim", "int32", "legacy: four sizes for each input"),
    _one("force_backward", "bool", "gradients for all bottoms, even without a need", False),
    _message("state", "NetState", "phase, level and stages"),
    _one("debug_info", "bool", "log means of data and gradients", False),
    _message("input_shape", "BlobShape", "legacy: shape of each input", repeated=True),
    _message("layer", "LayerParameter", "layers in the order they run", repeated=True),
    _enum("precision", PRECISIONS, "of activations; weights and sums are FLOAT32", "FLOAT32"),
    _enum(
        "arithmetic",
        {"FAST": 0, "STRICT": 1, "DIRECT": 2},
        "of convolutions: how freely sums may be rearranged",
        "FAST",
    ),
    _one("autotune", "bool", "time a convolution's kernels once and keep the fastest", False),
    _one("deterministic", "bool", "no autotune", False),
]

_SOLVER = [
    _one("train_net", "string", "prototxt of the training net"),
    _many("test_net", "string", "prototxts of the test nets"),
    _many("test_iter", "int32", "batches per test, for each test net"),
    _one("test_interval", "int32", "iterations between tests; 0: no tests", 0),
    _one("base_lr", "float", "initial learning rate"),
    _one("display", "int32", "iterations between log lines; 0: none"),
    _one("max_iter", "int32", "iterations to train"),
    _one(
        "lr_policy",
        "string",
        "fixed, step, exp, inv, multistep, poly, sigmoid; plateau, cosine, multifixed",
    ),
    _one("gamma", "float", "factor of step, exp, inv, multistep, sigmoid and plateau"),
    _one("power", "float", "exponent of inv and poly"),
    _one("momentum", "float", "momentum; beta1 of Adam"),
    _one("weight_decay", "float", "strength of the regularisation"),
    _one("stepsize", "int32", "iterations per step of step and sigmoid"),
    _one("snapshot", "int32", "iterations between snapshots; 0: none", 0),
    _one("snapshot_prefix", "string", "path and first part of the snapshots' names"),
    _one("snapshot_diff", "bool", "also save gradients", False),
    _enum("solver_mode", {"CPU": 0, "GPU": 1}, "where to run", "GPU"),
    _one("device_id", "int32", "which GPU", 0),
    _one("test_compute_loss", "bool", "also report the loss of test nets", False),
    _one(
        "eval_type", "string", "of tests: classification, or detection (mean AP)", "classification"
    ),
    _one("ap_version", "string", "of detection: Integral, MaxIntegral or 11point", "Integral"),
    _one("show_per_class_result", "bool", "detection: also report each class's AP", False),
    _one("random_seed", "int64", "seed; negative: a different one each run", -1),
    _message("train_net_param", "NetParameter", "the training net itself"),
    _message("test_net_param", "NetParameter", "the test nets themselves", repeated=True),
    _one("debug_info", "bool", "log means of data, gradients and parameters", False),
    _one("net", "string", "prototxt of the training and test net"),
    _message("net_param", "NetParameter", "the training and test net itself"),
    _message("train_state", "NetState", "state of the training net"),
    _message("test_state", "NetState", "state of each test net", repeated=True),
    _enum("precision", PRECISIONS, "of the nets' activations; replaces the nets' own"),
    _one("autotune", "bool", "as in the net", False),
    _one("deterministic", "bool", "as in the net", False),
    _one("snapshot_after_train", "bool", "snapshot when training ends", True),
    _one("regularization_type", "string", "L2, L1 or ElasticNet", "L2"),
    _enum(
        "solver_type",
        {"SGD": 0, "NESTEROV": 1, "ADAGRAD": 2, "RMSPROP": 3, "ADADELTA": 4, "ADAM": 5},
        "legacy: use type",
        "SGD",
    ),
    _one("delta", "float", "AdaGrad, RMSProp, AdaDelta, Adam: keeps divisors from zero", 1e-8),
    _one("test_initialization", "bool", "test before the first iteration", True),
    _one("average_loss", "int32", "iterations over which the displayed loss is averaged", 1),
    _many("stepvalue", "int32", "iterations at which multistep decays"),
    _one("clip_gradients", "float", "bound on the gradients' L2 norm; negative: none", -1.0),
    _one("iter_size", "int32", "batches whose gradients make one update", 1),
    _enum("snapshot_format", {"HDF5": 0, "BINARYPROTO": 1}, "of snapshots", "BINARYPROTO"),
    _one("rms_decay", "float", "RMSProp: decay of the mean square", 0.99),
    _one("momentum2", "float", "Adam: beta2", 0.999),
    _one("type", "string", "SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam or AdamW", "SGD"),
    _one("layer_wise_reduce", "bool", "data parallel: overlap reduction and backward", True),
    _many("weights", "string", "weight files to start from, comma separated"),
    # Not in Caffe.
    _one("warmup_iters", "int32", "iterations in which the rate rises to the policy's", 0),
    _one("warmup_start_lr", "float", "rate of the first iteration of the warm-up", 0),
    _one("min_lr", "float", "least rate of cosine, plateau and poly", 0),
    _one("plateau_patience", "int32", "plateau: tests without a better score to a step", 10),
    _one("early_stop_patience", "int32", "tests without a better score to the end; 0: never", 0),
    _one("min_improvement", "float", "share by which a better score must be better", 1e-4),
    _one("monitor", "string", "output of a test net that plateau and early stopping look at"),
    _enum("monitor_mode", {"MIN": 0, "MAX": 1}, "which scores are better", "MIN"),
    _one("decay_vectors", "bool", "weight decay also on parameters of one axis", True),
    _one("l1_ratio", "float", "ElasticNet: the share of L1 in the decay, 0 to 1", 0.5),
    _one("clip_value", "float", "bound on the size of each gradient; negative: none", -1.0),
    _one("ema_decay", "float", "of the average of the weights that is tested; 0: none", 0),
    # Of forks: SSD, Intel's and NVIDIA's.
    _many("plateau_winsize", "int32", "plateau by the loss: iterations to each step"),
    _one("warmup_iter", "int32", "iterations in which the rate rises to base_lr", 0),
    _many("stageiter", "int32", "multifixed: last iteration of each stage"),
    _many("stagelr", "float", "multifixed: rate of each stage"),
    _one("rampup_interval", "int32", "iterations in which the rate rises to base_lr", 0),
    _one("rampup_lr", "float", "rate of the first iteration of that", 0),
    _one("momentum_policy", "string", "fixed, poly or opt", "fixed"),
    _one("max_momentum", "float", "momentum at the end of poly; most of opt", 0.99),
    _one("momentum_power", "float", "exponent of momentum_policy poly", 1),
    _one("larc", "bool", "rates by the norms of each parameter and its gradient", False),
    _one("larc_policy", "string", "scale: a factor on the rate; clip: at most the rate", "scale"),
    _one("larc_eta", "float", "share of a parameter's norm that a step may change", 0.001),
    _one("local_lr_auto", "bool", "larc, with the weight decay counted in", False),
    _one("local_gw_ratio", "float", "larc_eta of local_lr_auto", 0.001),
]

_GAN_SOLVER = [
    _one("generator", "string", "prototxt of the generator's solver"),
    _one("discriminator", "string", "prototxt of the discriminator's solver"),
    _message("generator_param", "SolverParameter", "the generator's solver itself"),
    _message("discriminator_param", "SolverParameter", "the discriminator's solver itself"),
    _one("data", "string", "the discriminator's blob of samples", "data"),
    _one("generator_steps", "int32", "updates of the generator in an iteration", 1),
    _one("discriminator_steps", "int32", "updates of the discriminator in an iteration", 1),
    _enum(
        "objective",
        {name: i for i, name in enumerate(GAN_OBJECTIVES)},
        "what the sides minimise",
        GAN_OBJECTIVES[0],
    ),
    _one("gradient_penalty", "float", "weight of WGAN-GP's penalty; 0: none", 0.0),
    _enum("noise", {"GAUSSIAN": 0, "UNIFORM": 1}, "fed to Input layers", "GAUSSIAN"),
    _one("max_iter", "int32", "iterations to train"),
    _one("display", "int32", "iterations between log lines; 0: none"),
    _one("average_loss", "int32", "iterations over which the displayed loss is averaged", 1),
    _one("snapshot", "int32", "iterations between snapshots; 0: only at the end", 0),
    _one("snapshot_prefix", "string", "path and first part of the snapshots' names"),
    _one("random_seed", "int64", "seed; negative: a different one each run", -1),
]

_DBN_SOLVER = [
    _one("net", "string", "prototxt of the net: data, and RBM layers each on the one below"),
    _message("net_param", "NetParameter", "the net itself"),
    _message("solver", "SolverParameter", "one for each RBM layer, bottom first, or one for all",
             repeated=True),
    _one("snapshot_prefix", "string", "path and first part of the snapshots' names"),
    _one("random_seed", "int64", "seed; negative: a different one each run", -1),
]  # fmt: skip

_LABEL_MAP_ITEM = [
    _one("name", "string", "of the class, as data sets have it"),
    _one("label", "int32", "its number"),
    _one("display_name", "string", "for people"),
]

_SOLVER_STATE = [
    _one("iter", "int32", "iterations done"),
    _one("learned_net", "string", "weight file"),
    _message("history", "BlobProto", "the solver's memory of each parameter", repeated=True),
    _one("current_step", "int32", "steps done of step and multistep", 0),
]

MESSAGES = {
    name: {"name": name, "fields": with_fork_fields(name, fields)}
    for name, fields in {
        "BlobShape": _BLOB_SHAPE,
        "BlobProto": _BLOB_PROTO,
        "BlobProtoVector": [_message("blobs", "BlobProto", "blobs", repeated=True)],
        "Datum": _DATUM,
        "NetState": _NET_STATE,
        "NetStateRule": _NET_STATE_RULE,
        "ParamSpec": _PARAM_SPEC,
        "LossWeightSchedule": _LOSS_WEIGHT_SCHEDULE,
        "LayerParameter": _LAYER,
        "NetParameter": _NET,
        "SolverParameter": _SOLVER,
        "GanSolverParameter": _GAN_SOLVER,
        "DbnSolverParameter": _DBN_SOLVER,
        "SolverState": _SOLVER_STATE,
        "LabelMap": [_message("item", "LabelMapItem", "the classes", repeated=True)],
        "LabelMapItem": _LABEL_MAP_ITEM,
    }.items()
}
