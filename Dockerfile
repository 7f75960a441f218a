# probunet on a CPU:   docker build -t probunet .
# on a GPU:            docker build -t probunet --build-arg TORCH_INDEX=URL .   (the index URL that PyTorch's page names)
# run:                 docker run --rm -v "$PWD:/work" probunet sample MODEL crop.png --out hypotheses
# size on a CPU:       1.8 GB beside the base image, of which torch is 0.75 GB
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch==2.13.0 \
    && pip install --no-cache-dir --constraint constraints.txt '.[train,nifti,itk,dicom,explore,onnx]' \
    && rm -rf /src
WORKDIR /work
ENTRYPOINT ["probunet"]
