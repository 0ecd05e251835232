"""The OS definition cloud-image: an image made for clouds, with a seed for cloud-init."""
