"""Deep belief networks (Hinton, Osindero & Teh 2006): a stack of RBMs, trained one by one, that
unrolls into a classifier or a deep autoencoder to be fine-tuned.

>>> import pydl
>>> dbn = pydl.DBN([784, 500, 250], random_state=0).fit(images)
>>> codes = dbn.transform(images)
>>> dbn.classifier(classes=10).save("mnist_dbn")  # mnist_dbn.prototxt and mnist_dbn.caffemodel
"""

from pydl.dbn.dbn import DBN
from pydl.dbn.unroll import Unrolled

__all__ = ["DBN", "Unrolled"]
