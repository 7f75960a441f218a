import pytest

from probunet.data.lidc.readers import load_annotations


@pytest.fixture(scope="session")
def annotations():
    return load_annotations()


@pytest.fixture(scope="session")
def lesion_slices(annotations):
    return annotations.lesion_slices()
