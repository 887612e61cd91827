import jax
def find(name):
    return jax.devices(name)[0]
