"""pycaffe's net_spec: nets written as Python expressions.

>>> from pydl.caffe import NetSpec, layers as L, params as P
>>> n = NetSpec()
>>> n.data = L.Input(shape=dict(dim=[64, 1, 28, 28]))
>>> n.pool = L.Pooling(n.data, kernel_size=2, stride=2, pool=P.Pooling.MAX)
>>> n.relu = L.ReLU(n.pool, in_place=True)
>>> print(n.to_proto())
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydl.caffe.proto import caffe_pb2
from pydl.errors import Error

__all__ = ["NetSpec", "assign_proto", "layers", "param_name_dict", "params", "to_proto"]


@cache
def _param_names() -> dict[str, str]:
    return param_name_dict()


def param_name_dict() -> dict[str, str]:
    """The part before ``_param`` of a layer's own field, by layer type.

    >>> param_name_dict()["InnerProduct"]
    'inner_product'
    """
    layer = caffe_pb2.LayerParameter()
    fields = [field.name for field in layer.DESCRIPTOR.fields if field.name.endswith("_param")]
    return {
        type(getattr(layer, name)).__name__.removesuffix("Parameter"): name.removesuffix("_param")
        for name in fields
    }


def to_proto(*tops: Top) -> Any:
    """The NetParameter of the layers that these tops need, which get names of their own."""
    return _net_of(tops, {})


def _net_of(tops: Any, names: dict) -> Any:
    layers: OrderedDict[Function, Any] = OrderedDict()
    autonames: Counter[str] = Counter()
    for top in tops:
        top._to_proto(layers, names, autonames)
    net = caffe_pb2.NetParameter()
    net.layer.extend(layers.values())
    return net


def assign_proto(proto: Any, name: str, val: Any) -> None:
    """Sets a field of a message: dicts become messages, lists repeated fields; a single value of a
    repeated field is a list of one."""
    repeated = hasattr(getattr(proto, name), "extend")
    if repeated and not isinstance(val, list | tuple):
        val = [val]
    if isinstance(val, list | tuple):
        for item in val:
            if isinstance(item, Mapping):
                _assign_all(getattr(proto, name).add(), item)
            else:
                getattr(proto, name).append(item)
    elif isinstance(val, Mapping):
        _assign_all(getattr(proto, name), val)
    else:
        setattr(proto, name, val)


def _assign_all(proto: Any, fields: Mapping[str, Any]) -> None:
    for name, val in fields.items():
        assign_proto(proto, name, val)


class Top:
    """One output of a layer, to be the bottom of others."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> Any:
        """The NetParameter of the layers that this top needs."""
        return to_proto(self)

    def _to_proto(self, layers: OrderedDict, names: dict, autonames: Counter) -> None:
        self.fn._to_proto(layers, names, autonames)


class Function:
    """A layer: its type, its bottoms and its parameters."""

    def __init__(self, type_name: str, inputs: tuple[Top, ...], params: dict[str, Any]) -> None:
        self.type_name = type_name
        for index, bottom in enumerate(inputs):
            if not isinstance(bottom, Top):
                raise TypeError(
                    f"{type_name}: bottom {index} is not a top of another layer but of type "
                    f"{type(bottom).__name__}; parameters are given by name"
                )
        self.inputs = inputs
        self.params = dict(params)
        self.ntop = self.params.pop("ntop", 1)
        self.in_place = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def _get_name(self, names: dict, autonames: Counter) -> str:
        if self not in names:
            names[self] = (
                self._get_top_name(self.tops[0], names, autonames)
                if self.ntop > 0
                else self._next_name(autonames)
            )
        return names[self]

    def _get_top_name(self, top: Top, names: dict, autonames: Counter) -> str:
        if top not in names:
            names[top] = top.fn._next_name(autonames)
        return names[top]

    def _next_name(self, autonames: Counter) -> str:
        autonames[self.type_name] += 1
        return f"{self.type_name}{autonames[self.type_name]}"

    def _to_proto(self, layers: OrderedDict, names: dict, autonames: Counter) -> None:
        if self in layers:
            return
        bottoms = []
        for bottom in self.inputs:
            bottom._to_proto(layers, names, autonames)
            bottoms.append(layers[bottom.fn].top[bottom.n])
        layer = caffe_pb2.LayerParameter()
        layer.type = self.type_name
        layer.bottom.extend(bottoms)
        if self.in_place:
            layer.top.extend(bottoms)
        else:
            layer.top.extend(self._get_top_name(top, names, autonames) for top in self.tops)
        layer.name = self._get_name(names, autonames)
        for name, value in self.params.items():
            self._assign(layer, name, value)
        layers[self] = layer

    def _assign(self, layer: Any, name: str, value: Any) -> None:
        """To the layer's own message where that has such a field, else to the layer."""
        own = _param_names().get(self.type_name)
        if not name.endswith("param") and own is not None:
            message = getattr(layer, f"{own}_param")
            if name in message.DESCRIPTOR.fields_by_name:
                return assign_proto(message, name, value)
        if name not in layer.DESCRIPTOR.fields_by_name:
            raise Error(f"{self.type_name} has no parameter {name!r}, nor have layers in general")
        return assign_proto(layer, name, value)


class NetSpec:
    """A net: set tops as its attributes, which names them and their layers."""

    tops: OrderedDict[str, Top | Function]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Top | Function) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Top | Function:
        if name == "tops" or name not in self.tops:
            raise AttributeError(f"this NetSpec has no top {name!r}")
        return self.tops[name]

    def __setitem__(self, key: str, value: Top | Function) -> None:
        self.tops[key] = value

    def __getitem__(self, item: str) -> Top | Function:
        return self.tops[item]

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tops

    def keys(self) -> list[str]:
        return list(self.tops)

    def vals(self) -> list[Top | Function]:
        return list(self.tops.values())

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Takes over tops, as dict.update does."""
        self.tops.update(*args, **kwargs)

    def to_proto(self) -> Any:
        """The NetParameter of all the net's layers."""
        return _net_of(self.tops.values(), {top: name for name, top in self.tops.items()})


class Layers:
    """Makes layers by type: ``L.Convolution(bottom, num_output=20, kernel_size=5)``.

    The result is the layer's top, the tuple of its tops (``ntop=2``), or for ``ntop=0`` the layer.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer_fn(*args: Top, **kwargs: Any) -> Any:
            fn = Function(name, args, kwargs)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops

        return layer_fn


class Parameters:
    """Values of enums: ``P.Pooling.MAX``."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        class Param:
            def __getattr__(self, param_name: str) -> Any:
                return getattr(getattr(caffe_pb2, f"{name}Parameter"), param_name)

        return Param()


layers = Layers()
params = Parameters()
