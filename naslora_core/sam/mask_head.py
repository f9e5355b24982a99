"""Which mask tokens of SAM's decoder draw the answer."""

import copy

import torch
from torch import Tensor, nn

QUERIES = 10


class MaskHead(nn.Module):
    """One trained mask token and hypernetwork a class, each begun as SAM's single-mask row 0.

    Rows 1 to 3 go on attending beside the trained ones, unchanged, so with one class the decoder
    computes exactly what SAM's does. Background is the logit 0, so one class is the softmax over
    (0, m), which is the sigmoid of m: binary is no special case.
    """

    def __init__(self, decoder: nn.Module, classes: int = 1):
        super().__init__()
        row, mlp = decoder.mask_tokens.weight[:1], decoder.output_hypernetworks_mlps[0]
        self.token = nn.Parameter(row.detach().repeat(classes, 1))  # N C
        copies = (copy.deepcopy(mlp).requires_grad_(True) for _ in range(classes))
        self.mlps, self.classes = nn.ModuleList(copies), classes

    def tokens(self, decoder: nn.Module) -> Tensor:
        """The trained tokens, then SAM's rows 1 to 3: `N+3 C`."""
        return torch.cat([self.token, decoder.mask_tokens.weight[1:]])

    @torch.no_grad()
    def write_back(self, decoder: nn.Module) -> None:
        """Copy token and hypernetwork of a one-class head into row 0 of an official decoder."""
        decoder.mask_tokens.weight[0].copy_(self.token[0])
        decoder.output_hypernetworks_mlps[0].load_state_dict(self.mlps[0].state_dict())


class MatchedHead(nn.Module):
    """Mask tokens that are free to choose a class (the multi-class head of Conv-LoRA).

    Ten tokens, more where there are more classes, share one hypernetwork, begun as SAM's row 0; a
    Linear on every token's answer gives its class, the last index meaning "nothing". Training
    matches tokens and classes, so an image needs a token for each class that it shows.
    """

    def __init__(self, decoder: nn.Module, classes: int):
        super().__init__()
        queries = max(QUERIES, classes)
        row, mlp = decoder.mask_tokens.weight[:1], decoder.output_hypernetworks_mlps[0]
        apart = torch.randn(queries, row.shape[1]).to(row)
        self.token = nn.Parameter(row.detach() + 0.1 * apart)  # equal ones would stay equal
        self.mlp = copy.deepcopy(mlp).requires_grad_(True)
        self.classify, self.classes = nn.Linear(row.shape[1], classes + 1).to(row), classes

    tokens = MaskHead.tokens

    @property
    def mlps(self) -> list[nn.Module]:
        """The one hypernetwork, for every token."""
        return [self.mlp] * len(self.token)


def semantic(masks: Tensor, classes: Tensor) -> Tensor:
    """Logits `B C h w` of sum_n softmax(class)_nc sigmoid(mask_n) (MaskFormer, eq. 2).

    masks: `B N h w` logits; classes: `B N C+1` logits, the last "nothing". Background is where no
    class passes one half, which is the logit 0, as everywhere else.
    """
    share = classes.softmax(-1)[..., :-1]  # B N C
    score = torch.einsum("bnc,bnhw->bchw", share, masks.sigmoid())
    return score.float().clamp(1e-4, 1 - 1e-4).logit()  # in bfloat16 1 - 1e-4 is 1


def run_decoder(decoder, source: Tensor, position: Tensor, sparse: Tensor, tokens, mlps):
    """SAM's mask decoder for a whole batch, one prompt a row (`MaskDecoder.predict_masks`).

    source `N C h w` (embedding + dense prompt), position `1 C h w`, sparse `N T C`, tokens `K C`;
    mlps: {row of `tokens`: its hypernetwork} for the M rows that shall draw
    -> mask logits `N M 4h 4w`, predicted IoU `N 4` of SAM's own masks, answers `N M C` of the M.
    """
    n, c, h, w = source.shape
    queries = torch.cat([decoder.iou_token.weight, tokens]).expand(n, -1, -1)
    queries = torch.cat([queries, sparse], 1)
    hs, source = decoder.transformer(source, position.expand(n, -1, -1, -1), queries)
    up = decoder.output_upscaling(source.transpose(1, 2).reshape(n, c, h, w))  # N C/8 4h 4w
    answers = hs[:, [1 + row for row in mlps]]  # N M C
    drawn = zip(mlps.values(), answers.unbind(1), strict=True)
    hyper = torch.stack([mlp(answer) for mlp, answer in drawn], 1)  # N M C/8
    masks = (hyper @ up.flatten(2)).view(n, -1, 4 * h, 4 * w)
    return masks, decoder.iou_prediction_head(hs[:, 0]), answers
