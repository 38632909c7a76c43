"""What is trained is what is there, and learns as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.gradients import close_gradients, gradients, predicted_gradients, trained
from conformance.assertions.learning import backpropagated, frozen_contents, learn_once, only_the_adapter_learns, thaw
from conformance.assertions.logits import agree, differ
from conformance.assertions.state import state_unchanged
from conformance.assertions.trainer import SMOOTHING, as_by_hand, learnt_by_hand, resumed, share_of
from conformance.assertions.training import loss_by_hand, of_one_batch, same_loss, trained_case
from conformance.clauses.follow_ups import as_trained, checkpointings, counted_alone, labellings, training_mode, typed
from conformance.clauses.preconditions import in_the_cache, labels, token_types, usual_loss
from conformance.clauses.registry import COUNTING_PADS, Floor, clause
from conformance.core.relations import called, first_steps, in_mode, not_checkpointed, with_labels, with_padding
from conformance.core.sources import COLLATOR_DOC, GLOSSARY, PROMPT_TUNING_DOC, PROMPTING_DOC, TRAINER_DOC
from conformance.oracles.table import handmade_cache
from conformance.runs.judged_code import nothing_is_refused

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=("huggingface/peft#1182",), follow_ups=training_mode)
def mode_free(lab: Lab, case: Case) -> None:
    """After train() the model answers, and learns, as after eval(): logits, loss and gradients, where dropout is 0.

    Every model here has a dropout of 0, so that the mode may change nothing at all: not in generate, which a training loop calls
    between two steps, nor in the training forward.
    """
    usual = in_mode(case, "eval")
    answer = lab.generate(usual)
    agree(lab.generate(first_steps(case)), answer.steps(3), "generate answers otherwise in training mode")
    expected, its_gradients = trained(lab, usual, answer.tokens)
    got, mine = trained(lab, case, answer.tokens)
    agree(got, expected, "the training forward answers otherwise in training mode")
    same_loss(got, expected)
    close_gradients(mine, its_gradients, "in evaluation mode")


@clause(sources=("arXiv:2101.00190",), floor=COUNTING_PADS)
def gradient_agrees(lab: Lab, case: Case) -> None:
    """The gradient of every parameter of the adapter is autograd's through the manual forward, number by number.

    A parameter that the manual forward does not read has a gradient of zero, and a frozen one has none. The base model has no
    adapter; its training forward must answer as the manual one does.
    """
    tokens = lab.generate(case).tokens
    if not case.prefix.length:
        agree(
            lab.forward(case, tokens),
            lab.predict(case, handmade_cache, tokens),
            "the training forward answers otherwise",
        )
        return
    close_gradients(gradients(lab, case, tokens)[1], predicted_gradients(lab, case, tokens), "by the manual forward")


@clause(sources=("arXiv:2101.00190", COLLATOR_DOC), requires=(labels,), follow_ups=labellings)
def loss_agrees(lab: Lab, case: Case) -> None:
    """The loss is the mean over all tokens of the batch that have a label, by the manual forward; -100 is no label.

    The user's labels are as wide as the text: they say nothing of virtual tokens, which do not count. It is the base model that
    shifts them, so that each token is predicted from those before it. A method with a loss of its own says which labels
    count, and what they weigh.
    """
    tokens = lab.generate(with_padding(with_labels(case, "all"), "left")).tokens
    loss_by_hand(lab, lab.forward(case, tokens))


@clause(
    sources=("huggingface/transformers#34283", COLLATOR_DOC),
    requires=(labels,),
    follow_ups=as_trained,
)
def as_a_trainer_calls(lab: Lab, case: Case) -> None:
    """In whatever way a trainer calls forward, logits and loss are those of the usual call with names.

    The text without a name; return_dict=False; the labels of an encoder-decoder alone, which its decoder reads shifted by one;
    and the number of labelled tokens of all batches before a step, by which each batch's sum is divided. What a method with a
    loss of its own divides by nobody says: but each of two batches that are alike has half the loss that it has alone.
    """
    usual = called(case, "usual")
    tokens = lab.generate(with_padding(usual, "left")).tokens
    got, expected = lab.forward(case, tokens), lab.forward(usual, tokens)
    agree(got, expected, f"the training forward answers otherwise when it is called by {case.call}")
    same_loss(of_one_batch(got), expected if usual_loss(case) else lab.forward(counted_alone(case), tokens))


@clause(
    sources=("huggingface/peft#3336", "huggingface/transformers#17260", GLOSSARY),
    requires=(token_types, labels),
    follow_ups=typed,
    decisive=3,
    floor=Floor(may_refuse=True),
)
def types_count(lab: Lab, case: Case) -> None:
    """Given token_type_ids count as they do for the base model, behind virtual tokens too, or are refused in words.

    A collator passes them. Behind a prefix, logits and loss are those of the manual forward with these types. Of what type the
    embeddings of a prompt are nobody has defined, so only this is asked of a prompt: types change the logits.
    """
    usual = called(case, "usual")
    tokens = lab.generate(with_padding(usual, "left")).tokens
    got = lab.forward(case, tokens)
    if case.prefix.length and not in_the_cache(case):
        differ(got, lab.forward(usual, tokens), "the types of tokens change nothing")
        return
    agree(got, lab.predict(case, handmade_cache, tokens), "the training forward answers otherwise with token types")
    loss_by_hand(lab, got)


@clause(
    sources=("huggingface/transformers#24252", "huggingface/transformers#24274", TRAINER_DOC),
    fixed_case=trained_case,
    decisive=1,
    control="learns",
)
def trainer_agrees(lab: Lab, case: Case) -> None:
    """A Trainer arrives, step by step, where a loop by hand arrives, and from its own checkpoint, to the bit, where it arrived.

    Gradient descent without a schedule: each step has the loss by hand, and moves each parameter by its gradient. Of a loss of
    the method's own it may be any share, the same in each step. All else is the Trainer's default, as that it drops what the base
    model's forward does not take. Who cannot go on from a checkpoint refuses it in words.
    """
    tokens = lab.some_tokens(case)
    lab.forward(case, tokens)
    with lab.trainer(case, tokens) as train:
        with nothing_is_refused():
            got = train(0)
        share = 1.0 if usual_loss(case) else share_of(lab, got, case, tokens)
        as_by_hand(lab, got, learnt_by_hand(lab, case, tokens, share=share), case)
        resumed(train(1), got, 1)


@clause(
    sources=("huggingface/transformers#25044", "huggingface/transformers#27161", TRAINER_DOC),
    requires=(usual_loss,),
    fixed_case=trained_case,
    decisive=1,
)
def smoothing_agrees(lab: Lab, case: Case) -> None:
    """With label smoothing a Trainer has the loss by hand, and moves each parameter by its gradient, as without.

    The same tokens have labels, and virtual ones none, but a tenth of each label is spread evenly over the vocabulary. Here it is
    the Trainer that computes the loss, from the model's logits, shifts the labels, and leaves out what has none.
    """
    tokens = lab.some_tokens(case)
    lab.forward(case, tokens)
    with lab.trainer(case, tokens, SMOOTHING) as train, nothing_is_refused():
        as_by_hand(lab, train(0), learnt_by_hand(lab, case, tokens, SMOOTHING), case)


@clause(
    sources=("arXiv:2101.00190", PROMPTING_DOC, PROMPT_TUNING_DOC),
    requires=(labels,),
    follow_ups=training_mode,
    control="learns",
)
def only_the_prefix_learns(lab: Lab, case: Case) -> None:
    """The loss of a training batch reaches the adapter's parameters and nothing else, and a step moves nothing else.

    The base model is wrapped as it was loaded, with parameters that all require a gradient. Afterwards only the adapter's do, in
    evaluation and in training mode, so that an optimiser over all that do leaves the base model as it was, to the bit.
    """
    subject = lab.new_subject(case, before=thaw)
    only_the_adapter_learns(subject, "after wrapping")
    before = frozen_contents(subject)
    seen = lab.forward_on(subject, case, lab.some_tokens(case), grad=True)
    with subject.in_mode_of(case):
        learn_once(subject, only_the_adapter_learns(subject, "in training mode"), seen)
    state_unchanged(before, subject, "one step of training")


@clause(
    sources=("huggingface/peft#869", "huggingface/peft#2191"),
    requires=(labels,),
    follow_ups=checkpointings,
    floor=Floor(may_refuse=True),
)
def checkpointing(lab: Lab, case: Case) -> None:
    """With gradient checkpointing, switched on before or after wrapping, all learns as without, or it is refused in words.

    A checkpointed layer gives up its cache, in which the virtual tokens may lie. Logits, loss and the gradient of every parameter
    of the adapter are those without. Of a base model alone all parameters are trained.
    """
    got, mine = backpropagated(lab, case)
    expected, its_gradients = backpropagated(lab, not_checkpointed(case))
    agree(got, expected, "the training forward answers otherwise with gradient checkpointing")
    same_loss(got, expected)
    close_gradients(mine, its_gradients, "without gradient checkpointing")
