"""Phone numbers as spreadsheets leave them: without `+`, with spaces, in scientific notation."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from phonesys._matching import NumberQuery
from phonesys._validation import is_e164
from phonesys.backends.countries import alpha_2

_is_float = re.compile(r"([0-9]{4,15})[.,]0+").fullmatch
_is_scientific = re.compile(r"\+?([0-9])(?:[.,]([0-9]+))?\s*[eE]\s*\+?([0-9]{1,2})").fullmatch
_MIN_DIGITS = 7

# Calling codes by country (ITU-T E.164, annexed list of assigned country codes).
_CODES = """
    1:AG AI AS BB BM BS CA DM DO GD GU JM KN KY LC MP MS PR SX TC TT UM US VC VG VI
    7:KZ RU 20:EG 27:ZA 30:GR 31:NL 32:BE 33:FR 34:ES 36:HU 39:IT VA 40:RO 41:CH 43:AT 44:GB GG IM JE
    45:DK 46:SE 47:NO SJ 48:PL 49:DE 51:PE 52:MX 53:CU 54:AR 55:BR 56:CL 57:CO 58:VE 60:MY 61:AU CC CX
    62:ID 63:PH 64:NZ 65:SG 66:TH 81:JP 82:KR 84:VN 86:CN 90:TR 91:IN 92:PK 93:AF 94:LK 95:MM 98:IR
    211:SS 212:EH MA 213:DZ 216:TN 218:LY 220:GM 221:SN 222:MR 223:ML 224:GN 225:CI 226:BF 227:NE 228:TG
    229:BJ 230:MU 231:LR 232:SL 233:GH 234:NG 235:TD 236:CF 237:CM 238:CV 239:ST 240:GQ 241:GA 242:CG
    243:CD 244:AO 245:GW 246:IO 248:SC 249:SD 250:RW 251:ET 252:SO 253:DJ 254:KE 255:TZ 256:UG 257:BI
    258:MZ 260:ZM 261:MG 262:RE YT 263:ZW 264:NA 265:MW 266:LS 267:BW 268:SZ 269:KM 290:SH 291:ER 297:AW
    298:FO 299:GL 350:GI 351:PT 352:LU 353:IE 354:IS 355:AL 356:MT 357:CY 358:AX FI 359:BG 370:LT 371:LV
    372:EE 373:MD 374:AM 375:BY 376:AD 377:MC 378:SM 380:UA 381:RS 382:ME 383:XK 385:HR 386:SI 387:BA
    389:MK 420:CZ 421:SK 423:LI 500:FK 501:BZ 502:GT 503:SV 504:HN 505:NI 506:CR 507:PA 508:PM 509:HT
    590:BL GP MF 591:BO 592:GY 593:EC 594:GF 595:PY 596:MQ 597:SR 598:UY 599:BQ CW 670:TL 672:NF 673:BN
    674:NR 675:PG 676:TO 677:SB 678:VU 679:FJ 680:PW 681:WF 682:CK 683:NU 685:WS 686:KI 687:NC 688:TV
    689:PF 690:TK 691:FM 692:MH 850:KP 852:HK 853:MO 855:KH 856:LA 880:BD 886:TW 960:MV 961:LB 962:JO
    963:SY 964:IQ 965:KW 966:SA 967:YE 968:OM 970:PS 971:AE 972:IL 973:BH 974:QA 975:BT 976:MN 977:NP
    992:TJ 993:TM 994:AZ 995:GE 996:KG 998:UZ
"""


def _calling_codes() -> dict[str, str]:
    codes: dict[str, str] = {}
    code = ""
    for word in _CODES.split():
        before, colon, country = word.rpartition(":")
        code = before if colon else code
        codes[country] = code
    return codes


_CALLING_CODES = _calling_codes()


def restore_number(text: str, country: str | None) -> str:
    """Return a number in E.164, or its digits if only a held number can show its country code.

    Spaces, dashes, `00` and `(0)` are removed. A `+` that a spreadsheet dropped is put back if the digits
    begin with the country's calling code. Short codes and alphanumeric senders stay as they are. Raise
    ValueError for scientific notation that has lost digits.
    """
    plain = _expanded(text)
    query = NumberQuery.parse(plain)
    if query.digits is None or len(query.digits) < _MIN_DIGITS:
        return plain.strip()
    international = f"+{query.digits}"
    if query.is_international:
        return international
    code = _CALLING_CODES.get(alpha_2(country) or "")
    if code is not None and query.digits.startswith(code) and is_e164(international):
        # In +1 a number without its code is ten digits long, and none of them begins with 1.
        is_whole = len(query.digits) == 11 if code == "1" else len(query.digits) > len(code) + 6  # noqa: PLR2004
        if is_whole:
            return international
    return query.digits


def is_rounded(text: str, number: str) -> bool:
    """Return True if the text is this number in scientific notation, with any number of digits."""
    match = _is_scientific(text.strip())
    digits = number.removeprefix("+")
    if match is None or not (digits.isascii() and digits.isdigit()):
        return False
    places = len(match[2] or "")
    try:
        return f"{Decimal(digits):.{places}E}" == f"{_to_decimal(match):.{places}E}"
    except InvalidOperation:
        return False


def _expanded(text: str) -> str:
    """Write out what a spreadsheet took for a number. Raise ValueError if digits are lost."""
    plain = text.strip()
    if match := _is_float(plain):
        return match[1]
    match = _is_scientific(plain)
    if match is None:
        return plain
    if len(match[2] or "") < int(match[3]):
        raise ValueError(f"{plain!r:.40} has lost digits; format the column as text in the spreadsheet")
    return f"{_to_decimal(match):.0f}"


def _to_decimal(match: re.Match[str]) -> Decimal:
    return Decimal(f"{match[1]}.{match[2] or 0}E{match[3]}")
