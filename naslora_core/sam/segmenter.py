"""SAM as a differentiable function of a batch of images, prompt-free or with clicks and boxes."""

import json
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from naslora_core.errors import fault
from naslora_core.sam.mask_head import MaskHead, run_decoder, semantic


class Output(NamedTuple):
    """masks: logits `B N S S`; low_res: logits `B N 4h 4w`; iou: predicted; classes: None, or
    `B N C+1` logits of a MatchedHead, whose N low_res are its tokens' and masks the C classes'."""

    masks: Tensor
    low_res: Tensor
    iou: Tensor
    classes: Tensor | None = None


class Segmenter(nn.Module):
    """Image encoder, prompt encoder and mask decoder of a SAM, with gradients, on any batch: given
    the same prompt, what `SamPredictor` returns.

    resize: how images come to its square, "square" or "pad" (see `data.transforms.to_batch`);
    class_names: of the foreground classes, where they are known; tile: the side in an image's
    pixels of the pieces that it was trained on (see `data.tiles`), None for whole images.
    """

    resize, class_names, tile, tile_objects = "square", (), None, 0.5

    def __init__(self, sam: nn.Module, head: nn.Module | None = None):
        super().__init__()
        self.sam, self.head = sam, head

    def input_facts(self) -> dict[str, str]:
        """How images come to the model and what its classes are, as a file's description has it."""
        names = json.dumps(list(self.class_names), ensure_ascii=False)
        return {"resize": self.resize, "tile": json.dumps(self.tile), "class_names": names}

    def take_input_facts(self, facts: dict[str, str]) -> "Segmenter":
        """Itself, with what `input_facts` wrote; files without a part take its default."""
        self.resize = facts.get("resize", "square")
        self.tile = json.loads(facts.get("tile", "null"))
        self.class_names = tuple(json.loads(facts.get("class_names", "[]")))
        return self

    @property
    def image_size(self) -> int:
        """Side S of the square input, pixels."""
        return self.sam.image_encoder.img_size

    def preprocess(self, images: Tensor) -> Tensor:
        """RGB `B 3 S S` in 0..255, from anywhere, to SAM's normalised input on the model's device;
        UserError for another size."""
        if images.shape[1:] != (3, self.image_size, self.image_size):
            expected = f"B 3 {self.image_size} {self.image_size}"
            given, remedy = f"have shape {tuple(images.shape)}", "use data.transforms.to_batch"
            raise fault("The images", given, expected, remedy)
        return (images.to(self.sam.device) - self.sam.pixel_mean) / self.sam.pixel_std

    def encode(self, normalised: Tensor) -> Tensor:
        """`B 3 S S` normalised -> image embedding `B C h w`."""
        return self.sam.image_encoder(normalised)

    def decode(self, embedding: Tensor, points=None, boxes=None, mask=None, multimask=False):
        """Mask logits `B M 4h 4w` and predicted IoU `B M` for one prompt an image.

        points: (coordinates `B P 2` as x, y in input pixels; labels `B P`, 1 in, 0 out);
        boxes: `B 4` xyxy; mask: logits `B 1 4h 4w`. M is 3 with multimask (SAM's answers to an
        ambiguous click), else 1, or one a class of a trained head (a matched one: a token), whose
        IoU `B 1` is SAM's untrained guess. Repeat the embedding for several prompts of one image.
        """
        return self._run(embedding, points, boxes, mask, multimask)[:2]

    def _run(self, embedding: Tensor, points, boxes, mask, multimask: bool):
        decoder, prompts = self.sam.mask_decoder, self.sam.prompt_encoder
        sparse, dense = prompts(points=points, boxes=boxes, masks=mask)
        sparse, place = sparse.expand(len(embedding), -1, -1), prompts.get_dense_pe()
        tokens, mlps = self._tokens(multimask)
        masks, iou, answers = run_decoder(decoder, embedding + dense, place, sparse, tokens, mlps)
        return masks, iou[:, list(mlps) if multimask or self.head is None else [0]], answers

    def _tokens(self, multimask: bool):
        """The mask tokens, and {row: hypernetwork} of those that answer."""
        decoder = self.sam.mask_decoder
        if self.head is not None and not multimask:
            return self.head.tokens(decoder), dict(enumerate(self.head.mlps))
        rows = range(1, decoder.num_mask_tokens) if multimask else (0,)
        # rows 1 to 3 attend to row 0, so a trained row 0 takes its place, as in a folded model
        own = isinstance(self.head, MaskHead) and self.head.classes == 1
        tokens = self.head.tokens(decoder) if own else decoder.mask_tokens.weight
        return tokens, {i: decoder.output_hypernetworks_mlps[i] for i in rows}

    def forward(self, images: Tensor, points=None, boxes=None, multimask: bool = False) -> Output:
        """RGB `B 3 S S` in 0..255 -> Output, logits at input size; no prompt: SAM's empty one.

        Computed on the model's device; the answer is where the images are.
        """
        embedding, here = self.encode(self.preprocess(images)), self.sam.device
        points = points and tuple(part.to(here) for part in points)
        boxes = None if boxes is None else boxes.to(here)
        low_res, iou, answers = self._run(embedding, points, boxes, None, multimask)
        classify = None if multimask else getattr(self.head, "classify", None)
        classes = classify(answers) if classify else None
        drawn = low_res if classes is None else semantic(low_res, classes)
        size = (self.image_size, self.image_size)
        masks = F.interpolate(drawn, size, mode="bilinear", align_corners=False)
        found = masks, low_res, iou, classes
        return Output(*(part if part is None else part.to(images.device) for part in found))
