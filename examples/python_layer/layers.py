"""Layers in Python: data made on the fly, and a loss."""

import ast

import caffe
import numpy as np


class Line(caffe.Layer):
    """Points x and their y = w x + b with noise; param_str: a dict of batch, dims and noise."""

    def setup(self, bottom, top):
        params = ast.literal_eval(self.param_str)
        self.random = np.random.RandomState(0)
        self.noise = params["noise"]
        self.slope = np.arange(1, params["dims"] + 1)
        top[0].reshape(params["batch"], params["dims"])
        top[1].reshape(params["batch"], 1)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        x = self.random.standard_normal(top[0].data.shape)
        noise = self.noise * self.random.standard_normal(top[1].data.shape)
        top[0].data[...] = x
        top[1].data[...] = x @ self.slope[:, np.newaxis] - 0.5 + noise

    def backward(self, top, propagate_down, bottom):
        pass


class EuclideanLoss(caffe.Layer):
    """Half the mean square of the difference of two blobs, as Caffe's own layer of that name."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("two bottoms are needed to compute a distance")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise ValueError(f"{bottom[0].shape} and {bottom[1].shape} differ in size")
        self.difference = np.zeros_like(bottom[0].data)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.difference**2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * top[0].diff * self.difference / bottom[i].num
