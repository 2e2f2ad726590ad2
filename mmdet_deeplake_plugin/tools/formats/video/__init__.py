"""Annotation files of videos: CocoVID, MOTChallenge, YouTube-VIS, and of persons."""
