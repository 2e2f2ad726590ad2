"""How a config of Deep Lake's old integration becomes one for this package."""
