"""moto's SNS treats every subscription as confirmed.

This patch corrects that.
"""

from collections.abc import Callable, Iterable
from typing import Any

from moto.core.responses import ActionResult
from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import SNSBackend, Subscription
from moto.sns.responses import SNSResponse

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

# The protocols whose endpoint's owner must confirm a subscription (SNS API reference, "Subscribe").
_ASKED = ("email", "email-json", "http", "https")


def install(hooks: Hooks) -> None:
    """Keep a subscription unconfirmed until the request ConfirmSubscription, if it needs a confirmation.

    That request must contain a token. Here the token is the endpoint, because the sandbox sends no message with a
    token.
    """
    if SNSResponse.subscribe.__module__ != __name__:
        _keep_subscribers_pending()
        _confirm()


def _is_pending(subscription: Subscription) -> bool:
    return subscription.protocol in _ASKED and not subscription.confirmed


def _listed(subscriptions: Iterable[Subscription]) -> list[dict[str, Any]]:
    return [
        {
            "SubscriptionArn": "PendingConfirmation" if _is_pending(one) else one.arn,
            "Owner": one.owner,
            "Protocol": one.protocol,
            "Endpoint": one.endpoint,
            "TopicArn": one.topic_arn,
        }
        for one in subscriptions
    ]


def _keep_subscribers_pending() -> None:
    subscribe: Callable[..., ActionResult] = SNSResponse.subscribe
    publish: Callable[..., None] = Subscription.publish
    unsubscribe: Callable[..., None] = SNSBackend.unsubscribe

    def answer_pending(self: SNSResponse) -> ActionResult:
        answer = subscribe(self)
        arn = answer.result["SubscriptionArn"]  # type: ignore[index]
        made = self.backend.subscriptions[arn]
        if _is_pending(made):
            made.attributes["PendingConfirmation"] = True
            if str(self._get_param("ReturnSubscriptionArn")).lower() != "true":
                return ActionResult({"SubscriptionArn": "pending confirmation"})
        return answer

    def list_subscriptions(self: SNSResponse) -> ActionResult:
        found, token = self.backend.list_subscriptions(next_token=self._get_param("NextToken"))
        return ActionResult({"Subscriptions": _listed(found), "NextToken": token})

    def list_subscriptions_by_topic(self: SNSResponse) -> ActionResult:
        topic, token = self._get_param("TopicArn"), self._get_param("NextToken")
        found, token = self.backend.list_subscriptions_by_topic(topic, next_token=token)
        return ActionResult({"Subscriptions": _listed(found), "NextToken": token})

    def publish_to_confirmed(self: Subscription, *arguments: Any, **named: Any) -> None:
        if not _is_pending(self):
            publish(self, *arguments, **named)

    def unsubscribe_known(self: SNSBackend, subscription_arn: str) -> None:
        if not subscription_arn.startswith("arn:"):
            raise SNSInvalidParameter("Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements")
        unsubscribe(self, subscription_arn)

    replace(SNSResponse, "subscribe", answer_pending)
    replace(SNSResponse, "list_subscriptions", list_subscriptions)
    replace(SNSResponse, "list_subscriptions_by_topic", list_subscriptions_by_topic)
    replace(Subscription, "publish", publish_to_confirmed)
    replace(SNSBackend, "unsubscribe", unsubscribe_known)


def _confirm() -> None:
    """Make ConfirmSubscription check the token and confirm the subscription.

    moto accepts every token and changes nothing.
    """

    def confirm_subscription(self: SNSResponse) -> ActionResult:
        topic, token = self._get_param("TopicArn"), self._get_param("Token")
        for one in self.backend.subscriptions.values():
            if one.topic_arn == topic and one.endpoint == token and one.protocol in _ASKED:
                one.confirmed = True
                one.attributes["PendingConfirmation"] = False
                return ActionResult({"SubscriptionArn": one.arn})
        raise SNSInvalidParameter("Invalid parameter: Token")

    replace(SNSResponse, "confirm_subscription", confirm_subscription)
