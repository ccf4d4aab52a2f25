"""Tables of the permissions that an API call needs, when they do not have the call's name.

Further tables have permissions that a call needs in addition. Each table names the page of AWS that is its source.
"""

from __future__ import annotations

# Operations of S3 and the permissions that they need:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
S3 = {
    "AbortMultipartUpload": "AbortMultipartUpload",
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketInventoryConfiguration": "GetInventoryConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBucketInventoryConfigurations": "GetInventoryConfiguration",
    "ListBuckets": "ListAllMyBuckets",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "UploadPart": "PutObject",
}

# AWS Budgets has one permission for calls that read, and one for all other calls. These are the first words of calls
# that read: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbudgetservice.html
BUDGETS_LOOK = ("Describe", "List")

# Calls that need no permission: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
FREE = frozenset({"sts:GetCallerIdentity"})

# Actions that are allowed only on the resource *. Botocore's model says this of PutCompositeAlarm ("scoped to *"). The
# service authorization reference has no resource for Unsubscribe.
ALL_ONLY = frozenset({"cloudwatch:PutCompositeAlarm", "sns:Unsubscribe"})

# The permission to tag that a call needs when it also sets tags.
# EC2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
# IAM: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html#id_tags_permissions
# The others: the text about the operation in botocore's models
TAGGING = {
    "cloudwatch:PutCompositeAlarm": "cloudwatch:TagResource",
    "cloudwatch:PutMetricAlarm": "cloudwatch:TagResource",
    "iam:CreateInstanceProfile": "iam:TagInstanceProfile",
    "iam:CreatePolicy": "iam:TagPolicy",
    "iam:CreateRole": "iam:TagRole",
    "logs:CreateLogGroup": "logs:TagResource",
    "sns:CreateTopic": "sns:TagResource",
}

# Calls that give a role to a service, with the name of this service. The caller needs iam:PassRole for the role:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
PASSES = {
    "ec2:AssociateIamInstanceProfile": "ec2.amazonaws.com",
    "ec2:CreateFlowLogs": "vpc-flow-logs.amazonaws.com",
    "ec2:ReplaceIamInstanceProfileAssociation": "ec2.amazonaws.com",
    "ec2:RunInstances": "ec2.amazonaws.com",
    "iam:AddRoleToInstanceProfile": "ec2.amazonaws.com",
    "scheduler:CreateSchedule": "scheduler.amazonaws.com",
    "scheduler:UpdateSchedule": "scheduler.amazonaws.com",
}

# Types of resource that every launch of an instance creates, even when the call does not name them:
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html#iam-example-runinstances
LAUNCHED = ("instance", "volume", "network-interface")

# The beginning of a resource's id, and its type of resource:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
EC2_KINDS = {
    "ami": "image",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "fl": "vpc-flow-log",
    "i": "instance",
    "igw": "internet-gateway",
    "key": "key-pair",
    "lt": "launch-template",
    "pg": "placement-group",
    "rtb": "route-table",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
    "vpce": "vpc-endpoint",
}

# Service-linked roles, which a service creates at its first use: the service and the role's name. Sources:
# PutMetricAlarm's text in botocore's models, and https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/service-linked-roles-spot-instance-requests.html
RECOVERS = ("events.amazonaws.com", "AWSServiceRoleForCloudWatchEvents")
SPOT = ("spot.amazonaws.com", "AWSServiceRoleForEC2Spot")
# https://docs.aws.amazon.com/autoscaling/ec2/userguide/autoscaling-service-linked-role.html
SCALES = ("autoscaling.amazonaws.com", "AWSServiceRoleForAutoScaling")
# https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-service-linked-roles.html
BALANCES = ("elasticloadbalancing.amazonaws.com", "AWSServiceRoleForElasticLoadBalancing")

# Services with one name in botocore and another in policies. The key is botocore's name.
SERVICES = {"elbv2": "elasticloadbalancing", "service-quotas": "servicequotas"}

# Calls that create a resource. Their parameter with a name means a resource that does not exist yet.
MAKES_A_NAME = frozenset({"CreateLaunchTemplate"})
