"""The hosted provider: requests carried out by a service that is paid for, durable and never sent twice."""
