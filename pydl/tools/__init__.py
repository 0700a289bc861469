"""Caffe's tools as functions; the commands of `pydl.cli` call them.

- `imageset.convert_imageset`: image files and their labels to an LMDB;
- `image_mean.compute_image_mean`: the mean image of a data set;
- `features.extract_features`: blobs of a net, for the data that it reads, to LMDBs;
- `caffe_log`: the tables and charts in a training log.
"""
