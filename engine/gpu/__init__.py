"""What runs on a GPU, below tensors: memory, our CUDA kernels, and the libraries for products and convolutions.

Everything here takes and returns raw CuPy arrays. Nothing is imported before the first array goes to a GPU.
"""
