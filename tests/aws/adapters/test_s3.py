import hashlib

import pytest
from tests.support import aws
from tests.support.faults import faulty, refused

from overnight.aws.s3 import S3BlobStore
from overnight.errors import NotFound, Unavailable


@pytest.fixture
def bucket():
    name = aws.fresh("bucket")
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
    return name


@pytest.fixture
def blobs(bucket):
    return S3BlobStore(lambda: aws.client("s3"), bucket)


@pytest.mark.parametrize("content", [b"", b"a", bytes(range(256)) * 5_000], ids=["empty", "one", "large"])
def test_a_blob_is_kept_by_its_digest(blobs, content):
    digest = blobs.put(content)
    assert digest == hashlib.sha256(content).hexdigest() == blobs.put(content)
    assert blobs.get(digest) == content


@pytest.mark.parametrize("digest", ["0" * 64, "../secret", "", "A" * 64, "0" * 64 + "\n"])
def test_what_is_not_there_is_not_found(blobs, digest):
    with pytest.raises(NotFound):
        blobs.get(digest)


def test_a_blob_that_is_not_what_was_kept_is_unavailable_and_says_where_it_lies(bucket, blobs):
    digest = blobs.put(b"fine")
    key = f"flows/{digest}"
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=b"changed")
    with pytest.raises(Unavailable, match=f"s3://{bucket}/{key}"):
        blobs.get(digest)


def test_what_s3_refuses_is_unavailable(bucket):
    client = faulty("s3", [refused("AccessDenied", status=403)])
    with pytest.raises(Unavailable, match=r"S3: .*403"):
        S3BlobStore(lambda: client, bucket).put(b"a")


def test_a_bucket_that_is_not_there_is_unavailable_not_an_absent_blob():
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        S3BlobStore(lambda: aws.client("s3"), "nowhere").get("0" * 64)
