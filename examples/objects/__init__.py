"""What the examples that detect objects share: pictures with known boxes, scores, drawings."""
