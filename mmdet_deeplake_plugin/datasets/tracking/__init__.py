"""Datasets for tracking: frames of videos, and persons for re-identification."""
