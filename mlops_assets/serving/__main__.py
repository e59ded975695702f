"""What a container runs: `python -m mlops_assets.serving [serve] [options]`.

SageMaker starts an image with the word `serve`; everybody else may leave it out.
"""

import sys

from mlops_assets.serving import serve

if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(serve.main(arguments[1:] if arguments[:1] == ["serve"] else arguments))
