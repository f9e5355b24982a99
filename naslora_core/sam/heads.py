"""Which mask tokens of SAM's decoder draw the answer."""

import copy

import torch
from torch import Tensor, nn


class BinaryHead(nn.Module):
    """One mask token (row 0, SAM's single-mask output) and its hypernetwork, kept apart.

    Weight decay and momentum on the whole `mask_tokens` table would move the three rows that no
    loss reaches; a copy of the one row that is trained cannot. `write_back` returns it.
    """

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.token = nn.Parameter(decoder.mask_tokens.weight[:1].detach().clone())  # 1 C
        self.mlp = copy.deepcopy(decoder.output_hypernetworks_mlps[0]).requires_grad_(True)

    def tokens(self, decoder: nn.Module) -> Tensor:
        """All four tokens `4 C`: the trained one, and the three that attend beside it unchanged."""
        return torch.cat([self.token, decoder.mask_tokens.weight[1:]])

    @torch.no_grad()
    def write_back(self, decoder: nn.Module) -> None:
        """Copy token and hypernetwork into row 0 of an official decoder."""
        decoder.mask_tokens.weight[0].copy_(self.token[0])
        decoder.output_hypernetworks_mlps[0].load_state_dict(self.mlp.state_dict())


def run_decoder(decoder, source: Tensor, position: Tensor, sparse: Tensor, tokens, mlps):
    """SAM's mask decoder for a whole batch, one prompt a row (`MaskDecoder.predict_masks`).

    source `N C h w` (embedding + dense prompt), position `1 C h w`, sparse `N T C`, tokens `4 C`;
    mlps: {row of `tokens`: its hypernetwork} for the M rows that shall draw
    -> mask logits `N M 4h 4w`, predicted IoU `N 4`.
    """
    n, c, h, w = source.shape
    queries = torch.cat([decoder.iou_token.weight, tokens]).expand(n, -1, -1)
    queries = torch.cat([queries, sparse], 1)
    hs, source = decoder.transformer(source, position.expand(n, -1, -1, -1), queries)
    up = decoder.output_upscaling(source.transpose(1, 2).reshape(n, c, h, w))  # N C/8 4h 4w
    hyper = torch.stack([mlp(hs[:, 1 + row]) for row, mlp in mlps.items()], 1)  # N M C/8
    masks = (hyper @ up.flatten(2)).view(n, -1, 4 * h, 4 * w)
    return masks, decoder.iou_prediction_head(hs[:, 0])
