"""The LIDC-IDRI download and its readers' outlines; imports the files of data alone."""
