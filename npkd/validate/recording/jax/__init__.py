"""JAX: its programs recorded for the judge.

    report = validate.jax_function(apply, params, images)      # a function of one's own, judged
    report = validate.jax_step(update, params, state, batches, …)     # a training step likewise
    case, found = in_jax.record(apply, params, images, rng=0)  # what jax_function judges

How a function is recorded: it is traced to a jaxpr, of which every equation becomes an `Operation`,
and evaluated, equation by equation, in one compiled function that also returns every value in
between, and the gradient of every single use of it (`run`). Every operation so has rounded inputs
and a rounded result, those recorded. Custom rules, such as `jax.nn.relu`'s, are called as they are
and keep their own derivative.

Operations beside those of `npkd.validate.program` are those of `npkd.validate.bounds.elementwise`,
and

    unknown           anything, taken as it was recorded; `function` says what it is. It is called
                      again in float64, and its gradient checked (`replays`)

A max with 0 by `jax.nn.relu` is a relu. Layouts other than npkd's are brought to it by `move`: a
convolution of (N, H, W, C) images is a move to (N, C, H, W), conv2d, and a move back. From the
bottom up:

    trace         a function as steps on named tensors
    run           all values and gradients of a trace
    layout        where the entries of one tensor stand in another
    program       steps as operations
    moves         what only moves numbers
    operations    how each primitive of JAX's is recorded
    replays       the steps that no rule is for again, in float64
    own           a user's own function
    step          a user's own training step
"""

from npkd.validate.recording.jax.own import jax_function, record
from npkd.validate.recording.jax.step import jax_step

__all__ = ["jax_function", "jax_step", "record"]
