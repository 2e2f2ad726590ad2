"""Wrap other people's packages: quiet, and with the digits of pycocotools."""
