"""What `bench.learning` is made of: streams that change their domain, policies of learning, and what they come to."""
