"""Methods of prompt learning: parameters, arithmetic, where they act, and the reference wrapper."""
