"""Many images at once: `python -m inference.batch IMAGES --prompts prompts.jsonl --adapter find-red --out results/`.

One item is one image × one prompt, asked of base and of every chosen adapter; the first adapter's answer (base's, where
there is none) or the given one is replayed through all of them. With `--adapters-dir` and no `--adapter` those are all
adapters of that folder that can be used; which they are, and why others cannot, is said. What each line of
`prompts.jsonl` may hold stands in `inference.batch.items`.

1. The prompts and the names of the images are read, the backend is opened, and what is in `--out` already is looked up.
2. Every other item is answered and saved as `<out>/<image>-<digest>.npz` (`Comparison.load` reads it), whole or not at
   all. The digest is of all that the answer depends on: the image's bytes, every option of the request, model, dtype,
   attention mode, `--focus`, and the adapters with their files (on Modal: what is said of them, and a stamp). So the
   same command goes on where it was stopped, and another prompt or adapter is another item. A newer version of this
   package keeps older answers; another `--out` starts anew.
3. With another `--focus` than `first` an answer is replayed a second time, measured at the chosen tokens; nothing is
   written anew. An item whose answer has no such token fails, and says so.
4. An item that fails is named with its reason, does not stop the others, and is tried again by the next run.
5. `<out>/summary.csv` and `<out>/summary.jsonl` are written from the saved files, also after Ctrl-C: one row per item
   and variant, for the items of this command. A measure that does not exist is empty (null).
6. Where lines have a `target`, `<out>/targets.csv` says of each variant what the whole set says, see
   `inference.batch.over_set`; `<out>/targets.png` draws training runs over their steps.
7. With `--report` each answer also gets `<out>/<image>-<digest>.html`, a page that opens without a network (see
   `Comparison.report`; up to 20 MB and some seconds each), and `<out>/index.html` lists them, largest change first,
   below what is said of the whole set.
   Pages that are there are kept: a run that was stopped goes on with the others.

| column | meaning |
|---|---|
| `item` | the item's number, from 1: image by image, and for each image in the order of the prompts |
| `id` | the prompt's label, or empty |
| `image` | file name, relative to the images' folder |
| `prompt` | the person's words |
| `adapter` | `base` or the adapter's name |
| `answer` | what this variant wrote itself; empty where an answer was given |
| `replayed` | the answer replayed through all variants, which all numbers below are about |
| `replayed_tokens` | its tokens, the end token included where it has one |
| `logprob` | natural logarithm of the probability that this variant gives the replayed answer, ≤ 0 |
| `focus` | what `--focus` says: at which tokens of `replayed` the measures are taken, see `inference.batch.focus` |
| `focus_tokens` | which these are: their places in `replayed`, from 0, separated by spaces |
| `focus_text` | what they spell |
| `said` | points `x,y` and boxes `x,y,x,y` in the variant's words, in pixels of the photo; several separated by `;` |
| `image_share` | share of the attention of their rows (that predict them) on the image, 0–1, mean of rows and heads |
| `effective_cells` | over how many of the image's cells the mean of these rows is spread, 1–`cells`, mean of heads |
| `cells` | the image's cells |
| `js_mean` | Jensen–Shannon divergence from base of that mean over the image, in bits, 0–1, mean of heads |
| `js_max` | the largest of all heads; empty for base, and without base |
| `js_layer`, `js_head` | whose it is, 0-based |
| `box` | its line's target, as measured: `top,left,bottom,right` in pixels, several separated by `;` |
| `box_share` | share of the focus rows' whole attention in it, 0–1, mean of heads |
| `box_change` | that minus base's, −1–1; empty for base, and without base |
| `box_ratio` | mean in it over the mean of all boxes of its size, mean of heads |
| `box_hits` | share of the heads whose largest weight lies in it, 0–1 |
| `box_share_max` | the largest share of all heads |
| `box_layer`, `box_head` | whose it is, 0-based |
| `said_in_box` | share of the said points, and middles of said boxes, that lie in it: of one, 1 is yes and 0 no |
| `file` | the item's file in `--out`, or empty |
| `seconds` | what the whole item took, all variants together |
| `notes` | what a careful colleague would say of the item |
| `error`, `message` | why there is no answer: a stable name and a sentence; empty where there is one |

Heads are those of all layers; those that put nothing on the image have neither cells nor divergence and do not
count there. The divergence and the cells, exp(entropy), are of the row renormalised over the image
(`inference.measures`). In the CSV a text that begins with `=`, `+`, `-`, `@`, a tab or a line break gets a
leading apostrophe, so that no spreadsheet runs it.

Exit code: 0 all items are there, 1 some are not, 2 it could not begin or not go on, 130 Ctrl-C.
"""
