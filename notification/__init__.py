"""WS-Notification: topics, filters, subscriptions and the delivery of messages.

Events are written to an outbox with the change they tell of, and delivered from there at least once and in order
for each subscription; a dead consumer delays nobody.
"""
