"""Simulated CT around real readers' outlines, and simulated streets; imports data.lidc."""
