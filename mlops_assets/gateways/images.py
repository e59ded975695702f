"""Container images that versions of a model have of their own, in a repository of Amazon ECR."""

import re
from collections.abc import Mapping
from typing import Self

from mlops_assets.gateways.aws import CloudError, Service

ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"/(?P<repository>[a-z0-9][a-z0-9._/-]*):(?P<tag>\S+)"
)
VERSION, DIGEST = "{version}", "{digest}"
GONE = ("ImageNotFound", "RepositoryNotFound")


class VersionImages:
    """The images that a template like `ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:{version}` names:
    `{version}` stands for the model's version, `{digest}` for the digest of its bundle."""

    def __init__(self, template: Mapping[str, str], variables: Mapping[str, str]) -> None:
        """See `of`; `template` has its parts by name."""
        self._tag = template["tag"]
        self._named = {
            "registryId": template["account"], "repositoryName": template["repository"]
        }  # fmt: skip
        self._ecr = Service("ecr", region=template["region"], variables=variables)

    @classmethod
    def of(cls, template: str, variables: Mapping[str, str]) -> Self | None:
        """None where versions share an image, or it is not on ECR.

        Args:
            template: of their URIs.
            variables: the environment, as `aws.Service` takes it.
        """
        found = ECR.fullmatch(template)
        if found is None or not any(word in found["tag"] for word in (VERSION, DIGEST)):
            return None
        return cls(found.groupdict(), variables)

    def tag(self, version: int, digest: str) -> str:
        """Of the image of a version."""
        return filled(self._tag, version, digest)

    def sizes(self) -> dict[str, int]:
        """Bytes, compressed, of what the repository holds, by tag; also of others. Layers that
        images share are counted in each.

        Raises:
            CloudError: AWS refuses, or does not answer.
        """
        try:
            details = self._ecr.pages(
                "describe_images", "imageDetails", filter={"tagStatus": "TAGGED"}, **self._named
            )
        except CloudError as error:
            if error.code == "RepositoryNotFoundException":
                return {}
            raise
        return {
            tag: each.get("imageSizeInBytes", 0) for each in details for tag in each["imageTags"]
        }

    def remove(self, tag: str) -> None:
        """Take the tag away, and the image with its last one; one that is gone is left at that.

        Raises:
            CloudError: AWS refuses, or does not answer.
        """
        said = self._ecr.call("batch_delete_image", imageIds=[{"imageTag": tag}], **self._named)
        for failure in said["failures"]:
            if failure["failureCode"] not in GONE:
                raise CloudError(
                    "batch_delete_image", failure["failureCode"], failure["failureReason"], failure
                )


def filled(template: str, version: int, digest: str) -> str:
    """The template for one version."""
    return template.replace(VERSION, str(version)).replace(DIGEST, digest)
