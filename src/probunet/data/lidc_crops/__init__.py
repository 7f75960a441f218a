"""LIDC-IDRI as others passed it on; imports data.lidc."""
