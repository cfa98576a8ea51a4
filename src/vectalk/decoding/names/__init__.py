"""Names in answers: within quotation marks, the decode loop can only write titles that exist."""

from vectalk.decoding.names.row import RowNames, constrain
from vectalk.decoding.names.titles import TitleNames
from vectalk.decoding.names.token_bytes import TokenBytes

__all__ = ["RowNames", "TitleNames", "TokenBytes", "constrain"]
