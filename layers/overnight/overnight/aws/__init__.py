"""The engine on AWS: Lambda functions over DynamoDB, SQS, EventBridge, S3 and SSM."""
